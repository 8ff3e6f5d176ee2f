// Small charts of the last ten minutes: one or two lines over time, the newest at the right.
// Paths are drawn on a grid of 100 by 100 that the style sheet stretches; text is HTML, so it is not stretched.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 100, HEIGHT = 100;

export class Chart {
  // `lines`: [{name, of: sample => number or null, second, area}]; `show` turns a value into text.
  // The height is from 0 to at least `least`, or by powers of ten between the two of `logarithmic`.
  constructor(figure, { lines, show, capacity, stepSeconds, least, logarithmic }) {
    Object.assign(this, { lines, show, capacity, stepSeconds, least, logarithmic, samples: [], at: null });
    this.legend = figure.querySelector(".legend");
    this.plot = figure.querySelector(".plot");
    this.plot.addEventListener("pointermove", event => this.point(event));
    this.plot.addEventListener("pointerleave", () => { this.at = null; this.draw(); });
  }

  update(samples) {
    this.samples = samples;
    this.draw();
  }

  point(event) {
    const box = this.plot.getBoundingClientRect();
    const back = Math.round((1 - (event.clientX - box.left) / box.width) * (this.capacity - 1));
    this.at = Math.min(Math.max(this.samples.length - 1 - back, 0), this.samples.length - 1);
    this.draw();
  }

  draw() {
    this.plot.replaceChildren();
    this.drawLegend();
    if (this.samples.length < 2) {
      this.plot.append(note("wait", "Drawn from the next minutes"));
      return;
    }
    const values = this.lines.flatMap(line => this.samples.map(line.of)).filter(value => value !== null);
    const scale = this.logarithmic ? powers(this.logarithmic) : linear(ceiling(Math.max(this.least, ...values)));
    const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" });
    for (const y of [0, HEIGHT / 2, HEIGHT]) svg.append(element("line", { x1: 0, x2: WIDTH, y1: y, y2: y }));
    for (const line of this.lines) {
      const runs = this.runs(line.of, scale.part);
      if (line.area) for (const run of runs) svg.append(element("path", { class: "area", d: area(run) }));
      for (const run of runs) svg.append(element("path", { class: line.second ? "second" : "", d: path(run) }));
    }
    if (this.at !== null) {
      const x = this.x(this.at);
      svg.append(element("line", { class: "hair", x1: x, x2: x, y1: 0, y2: HEIGHT }));
    }
    const minutes = Math.round((this.capacity * this.stepSeconds) / 60);
    this.plot.append(
      svg, ...scale.marks.map((mark, index) => note("y", this.show(mark), { top: `${50 * index}%` })),
      note("x", `${minutes} min ago`, { left: "0" }), note("x", "now", { right: "0" }),
    );
  }

  drawLegend() {
    this.legend.replaceChildren();
    const index = this.at ?? this.samples.length - 1;
    const sample = this.samples[index];
    if (this.at !== null) {
      this.legend.append(`${ago((this.samples.length - 1 - index) * this.stepSeconds)}:`);
    }
    for (const line of this.lines) {
      const entry = document.createElement("span");
      entry.className = line.second ? "second" : "";
      const value = document.createElement("em");
      const number = sample ? line.of(sample) : null;
      value.textContent = number === null ? "–" : this.show(number);
      entry.append(line.name, value);
      this.legend.append(entry);
    }
  }

  x(index) {
    return (1 - (this.samples.length - 1 - index) / (this.capacity - 1)) * WIDTH;
  }

  // Points of each stretch without a hole.
  runs(of, part) {
    const runs = [];
    let run = null;
    this.samples.forEach((sample, index) => {
      const value = of(sample);
      if (value === null) {
        run = null;
        return;
      }
      if (run === null) runs.push(run = []);
      run.push([this.x(index), HEIGHT - part(value) * HEIGHT]);
    });
    return runs;
  }
}

// What part of the height a value takes, and the marks at the top, in the middle and at the bottom.
function linear(top) {
  return { part: value => value / top, marks: [top, top / 2, 0] };
}

function powers([from, to]) {
  const span = Math.log10(to / from);
  const part = value => Math.min(1, Math.max(0, Math.log10(Math.max(value, from) / from) / span));
  return { part, marks: [to, Math.sqrt(from * to), from] };
}

// A round number not below `value`, of which half is round too.
function ceiling(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map(step => step * unit).find(step => step >= value);
}

function path(run) {
  const points = run.length === 1 ? [run[0], [run[0][0] + 0.3, run[0][1]]] : run;
  return points.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join("");
}

function area(run) {
  return `${path(run)}L${run.at(-1)[0].toFixed(2)} ${HEIGHT}L${run[0][0].toFixed(2)} ${HEIGHT}Z`;
}

function ago(seconds) {
  if (seconds < 1) return "now";
  return seconds < 60 ? `${seconds} s ago` : `${Math.floor(seconds / 60)} min ${seconds % 60} s ago`;
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function note(kind, text, style = {}) {
  const made = document.createElement("small");
  made.className = kind;
  made.textContent = text;
  Object.assign(made.style, style);
  return made;
}
