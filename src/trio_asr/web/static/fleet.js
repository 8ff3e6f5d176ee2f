// The members of a fleet, as this one sees them. Text goes in as text, whatever it says.

import { byId, tone, write } from "./calls.js";

const SILENT_S = 10; // entries that are read later than this are not live
const HOT = 0.6; // of a member's capacity: more than that in one shard, and no other member can relieve it

export class FleetTable {
  constructor() {
    this.rows = new Map();
  }

  update(fleet) {
    byId("fleet").hidden = !fleet;
    if (!fleet) return;
    write(byId("fleet-note"), describe(fleet));
    tone(byId("fleet-note"), fleet.unowned ? "bad" : "");
    const names = new Set(fleet.members.map(({ member }) => member));
    for (const [name, row] of this.rows) {
      if (!names.has(name)) { row.remove(); this.rows.delete(name); }
    }
    fleet.members.forEach((one, index) => {
      const row = this.rows.get(one.member) ?? this.add(one.member);
      draw(row, one, one.member === fleet.member);
      const body = byId("fleet-rows");
      if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
    });
  }

  add(name) {
    const row = document.createElement("tr");
    for (const kind of ["call", "state", "num", "num", "num", "num wide", "num wide", "wide"]) {
      const cell = document.createElement("td");
      cell.className = kind;
      row.append(cell);
    }
    this.rows.set(name, row);
    return row;
  }
}

function describe({ shards, unowned, members, hottest }) {
  const moving = members.reduce((sum, { handing }) => sum + handing, 0);
  const parts = [`${members.length} members`, `${shards} shards`];
  parts.push(unowned === null ? "the others cannot be seen" : unowned ? `${unowned} held by nobody` : "all held");
  if (moving) parts.push(`${moving} handed over now`);
  if (hottest && hottest.calls > HOT * hottest.capacity) parts.push(`shard ${hottest.shard} is hot: ${hottest.calls} calls`);
  return parts.join(" · ");
}

function draw(row, one, self) {
  const [name, state, shards, calls, lag, connections, cpu, version] = row.children;
  write(name, self ? `${one.member} (this one)` : one.member);
  const leaving = one.draining_s !== null;
  write(state, leaving ? `leaving for ${Math.round(one.draining_s)} s` : one.shards ? "active" : "standby");
  tone(row, leaving ? "warn" : one.shards ? "ok" : "idle");
  write(shards, String(one.shards));
  write(calls, `${one.calls} / ${one.capacity}`);
  tone(calls, one.calls > one.capacity ? "bad" : "");
  write(lag, `${one.lag_s.toFixed(1)} s`);
  tone(lag, one.lag_s > SILENT_S ? "bad" : "");
  write(connections, String(one.connections));
  write(cpu, `${Math.round(100 * one.cpu)} %`);
  write(version, one.generation === one.version ? one.version : `${one.generation} (${one.version})`);
}
