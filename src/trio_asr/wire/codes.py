"""The words of the daemon that others match on: in messages on Redis, metric labels, `/health` and the log.

Consumers, dashboards, alerts and operators compare with these values, so a published value never changes,
however its member is called here. A member is a `str` and behaves as its value wherever text is made of it:
in JSON, in f-strings, as a label, and also in `repr`.

The labels of the metrics are made from these classes (`telemetry/labels.py`), so a new member has a series
from the start, at 0.
"""

from __future__ import annotations

import enum


class Code(enum.StrEnum):
    """A word that leaves the daemon. In hot loops bind a member first: access by name is slow on 3.11."""

    # As of any text: the log's renderer for people and messages about input show values by their repr.
    __repr__ = str.__repr__


class EventName(Code):
    """The `event` of a message on the events stream."""

    STARTED = "started"
    RESUMED = "resumed"
    CONNECTION_OPENED = "connection_opened"
    CONNECTION_CLOSED = "connection_closed"
    GAP = "gap"
    UTTERANCE_END = "utterance_end"
    SPEECH_STARTED = "speech_started"
    SEARCH = "search"
    RATE_CHANGING = "rate_changing"
    CHECKPOINT_BROKEN = "checkpoint_broken"
    ENDED = "ended"


class GapReason(Code):
    """Why a stretch of audio was given up."""

    RETENTION = "retention"  # more than a call may keep without a final (`interaction.max_unfinalized_s`)
    MEMORY = "memory"  # all calls together held too much
    REJECTED = "rejected"  # the provider closed on it repeatedly, as unusable
    # No result covered it, on connections that were closed in good order. Published as "unanswered", a word
    # that elsewhere means other things: consumers and dashboards know it by that.
    NO_RESULT = "unanswered"
    SKIPPED = "skipped"  # a final began behind it
    SOURCE = "source"  # it never came: the positions of the entries leave it out
    UNPUBLISHED = "unpublished"  # there was a transcript, and Redis refused it
    INTERNAL = "internal"  # the call failed on it until its strikes were used up


class EndReason(Code):
    """Why a call ended."""

    CALL_END = "call_end"  # its producer said so
    IDLE = "idle"  # nothing came for long, or others needed the room
    OTHER_TENANT = "other_tenant"  # another tenant uses its id now
    CLOSED = "closed"  # its input was closed without a reason being known


class Problem(Code):
    """What keeps the worker from its job: a reason of readiness."""

    REDIS = "redis"
    LEASE = "lease"
    COMMITS = "commits"  # a Redis that can be read may still not be written
    DEEPGRAM = "deepgram"
    FOREIGN_CONSUMER = "foreign consumer"
    MAX_CALLS = "max_calls"
    FLEET = "fleet"  # the beats and leases of the other members cannot be seen
    KEYS = "keys"  # only as what keys are in the way of: each key is a problem with a name of its own


class Handover(Code):
    """How a shard came to a member of a fleet, or left it."""

    FREE = "free"  # it was nobody's
    GIVEN = "given"  # another member handed it over
    GAVE = "gave"  # handed over to another member
    RELEASED = "released"  # to nobody: the fleet ends, or its patience did
    LOST = "lost"  # another member has taken it: this one was not heard of for too long


class ErrorKind(Code):
    """The kind of an error, as counted and as shown of the last one."""

    INTERNAL = "internal"
    TRIMMED = "trimmed"  # the audio stream was cut before it was read
    INPUT = "input"  # an entry that cannot be used
    CONNECT = "connect"  # no connection came about
    CONNECTION = "connection"  # one ended otherwise than in good order
    PROVIDER = "provider"  # it complained in a message
    REDIS = "redis"
    PUBLISH = "publish"  # Redis refused a commit
    STATE = "state"  # something stored is no state of ours


class DeadLetterKind(Code):
    """What is wrong with an entry that cannot be used."""

    NO_DATA = "no_data"
    TOO_LARGE = "too_large"
    JSON = "json"  # the envelope cannot be read, be it JSON or MessagePack
    INTERACTION_ID = "interaction_id"
    SAMPLE_RATE = "sample_rate"
    ENCODING = "encoding"
    CHANNELS = "channels"
    ROLES = "roles"
    AUDIO = "audio"
    INTERNAL = "internal"  # our decoder failed on it


class StoredKind(Code):
    """A kind of stored state that can be found broken."""

    CALL = "call"
    READER = "reader"
    LIVE = "live"  # the set of calls in progress


class CaughtAt(Code):
    """Where a bug was caught, so that it cost one entry, message, call or round."""

    ENTRY = "entry"
    MESSAGE = "message"
    CALL = "call"
    COMMIT = "commit"
    BUS = "bus"
    HOUSEKEEPING = "housekeeping"
    CHECKPOINT = "checkpoint"  # nothing is caught there now; its series stays for those who know it
    RELOAD = "reload"
    PAGE = "page"
