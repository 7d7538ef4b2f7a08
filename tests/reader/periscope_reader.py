#!/usr/bin/env python3
"""Reads all chunks of a node's file, by what store/FORMAT.md says and nothing else.

    periscope_reader.py FILE.db

prints one JSON object a row: stream, chunk, place in the chunk, time and what the
codec holds. A message that is no UTF-8 is printed in hexadecimal, as `message_hex`.
Needs Python 3.9 and the package `zstandard`.
"""

import json
import math
import re
import sqlite3
import struct
import sys
from datetime import datetime, timedelta, timezone

import zstandard

MAX_RAW_BYTES = 256 << 20
MAX_VALUES = 16_777_216
MAX_SLOTS = 1_024

INTEGER, FLOAT, STRING, KLOG, ISO, CLOCK, HEXDUMP, WHOLE = range(0xF5, 0xFD)
END = 0xFF

DAY_SECONDS = 86_400
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LEVELS = [None, "debug", "info", "warning", "error", "fatal", None, None]
OUTCOMES = ["ok", "fail", "skipped"]


class Damaged(Exception):
    """The bytes are not what the format allows."""


def need(condition, what):
    if not condition:
        raise Damaged(what)


# The pieces


def wrap(number):
    """A signed number of 64 bits."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def unzigzag(number):
    return (number >> 1) ^ -(number & 1)


class Bytes:
    """Bytes that are read from front to back, never beyond the end."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, length):
        need(length <= len(self.data) - self.at, "a column ends too early")
        self.at += length
        return self.data[self.at - length : self.at]

    def byte(self):
        return self.take(1)[0]

    def varint(self):
        number = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                need(number < 1 << 64, "a varint has more than 64 bits")
                return number
        raise Damaged("a varint has more than ten bytes")

    def end(self):
        need(self.at == len(self.data), "bytes are left over")


def frames(data, count):
    """Raw bytes of each of the frames that a BLOB consists of."""
    source = Bytes(data)
    columns = []
    for _ in range(count):
        raw_length, stored_length, method = source.varint(), source.varint(), source.byte()
        need(raw_length <= MAX_RAW_BYTES, "a frame is too large")
        stored = source.take(stored_length)
        if method == 1:
            stored = decompress(stored, raw_length)
        else:
            need(method == 0, "a frame has an unknown method")
        need(len(stored) == raw_length, "a frame has another length than it says")
        columns.append(stored)
    source.end()
    return columns


def decompress(stored, raw_length):
    try:
        head = zstandard.get_frame_parameters(stored)
        need(head.content_size == raw_length, "a zstd frame has another size")
        need(head.dict_id == 0, "a zstd frame wants a dictionary")
        frame = zstandard.ZstdDecompressor().decompressobj()
        raw = frame.decompress(stored)
    except zstandard.ZstdError as error:
        raise Damaged(str(error)) from error
    need(frame.eof and not frame.unused_data, "a zstd frame has another end")
    return raw


def varints(data, count=None):
    """A varint a row; as many as there are without a count."""
    source = Bytes(data)
    numbers = []
    while source.at < len(data) if count is None else len(numbers) < count:
        numbers.append(source.varint())
    source.end()
    return numbers


def steps(data, count):
    values, last = [], 0
    for number in varints(data, count):
        last = wrap(last + unzigzag(number))
        values.append(last)
    return values


def texts(data, count):
    source = Bytes(data)
    words = []
    for _ in range(source.varint()):
        words.append(utf8(source.take(source.varint())))
    rows = [source.varint() for _ in range(count)]
    source.end()
    need(all(row < len(words) for row in rows), "a row names no word")
    return [words[row] for row in rows]


def utf8(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Damaged("a word is no text") from error


class Numbers:
    """A number column: codes, and the bits that they ask for."""

    def __init__(self, codes, bits):
        self.codes = Bytes(codes)
        self.bits = bits
        self.bit = 0

    def next(self):
        code = self.codes.byte()
        if code < 199:
            return code
        width = code - 192
        first, last = self.bit // 8, (self.bit + width + 7) // 8
        need(last <= len(self.bits), "a number lacks bits")
        window = int.from_bytes(self.bits[first:last], "little") >> self.bit % 8
        self.bit += width
        return 1 << width | window & (1 << width) - 1

    def end(self):
        self.codes.end()
        need((self.bit + 7) // 8 == len(self.bits), "bits are left over")
        need(self.bit % 8 == 0 or self.bits[-1] >> self.bit % 8 == 0, "unused bits are set")


# Codec 1: log lines


class Slot:
    def __init__(self, kind, place, after, spelling, column):
        self.kind = kind
        self.place = place
        self.after = after
        self.spelling = spelling
        self.column = column


class Spelling:
    """How a stamp writes its decimals and what is around them."""

    def __init__(self, byte, kind):
        need(byte & 0xC0 == 0x80, "a stamp has an impossible spelling")
        self.decimals = byte & 0x0F
        self.blank = bool(byte & 0x10)
        self.point = b"," if byte & 0x20 else b"."
        need(self.decimals <= 9, "a stamp has too many decimals")
        need(kind == ISO or not self.blank, "a time of day has no blank")


def split_list(data, count):
    """Byte strings, each of which ends with `ff`."""
    strings = data.split(b"\xff")
    need(strings.pop() == b"", "the last string has no end")
    need(len(strings) == count, "there is another number of strings")
    return strings


def read_dictionary(data, ids, count):
    """Strings of the dictionary with their ids in place."""
    source = Bytes(ids)

    def spelled(mark):
        if mark[0] == b"\xf6":
            digits = source.take(16).hex()
            groups = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
            return "-".join(groups).encode()
        need(mark[1] and 1 <= mark[1][0] <= 127, "an id has an impossible length")
        return source.take(mark[1][0]).hex().encode()

    text = re.sub(rb"(\xf5|\xf6)((?<=\xf5).|)", lambda mark: spelled(mark.groups()), data, flags=re.S)
    source.end()
    return split_list(text, count)


def parse_template(text, columns):
    """Slots of a template; `columns` knows the column of each context."""
    slots, at, floor = [], 0, 0
    while at < len(text):
        kind, place = text[at], at
        at += 1
        if kind < INTEGER:
            continue
        need(kind <= WHOLE, "a template has an unknown slot")
        spelling = None
        if kind in (ISO, CLOCK):
            need(at < len(text), "a stamp has no spelling")
            spelling = Spelling(text[at], kind)
            at += 1
        need(kind not in (HEXDUMP, WHOLE) or len(text) == 1, "a slot is not alone")
        start = max(place - 16, 0, floor)
        floor = at - 3
        column = columns.setdefault(text[start : place + 1], len(columns))
        slots.append(Slot(kind, place, at, spelling, column))
    need(len(slots) <= MAX_SLOTS, "a template has too many slots")
    return slots


def rows_to_templates(codes, numbers, template_count):
    far = Bytes(numbers)
    known, rows = 0, []
    for code in codes:
        if code == 0:
            template, known = known, known + 1
        elif code < 255:
            template = code - 1
        else:
            template = 254 + far.varint()
        need(template < known, "a row has a template that no row had before")
        rows.append(template)
    far.end()
    need(known == template_count, "there is another number of templates")
    return rows


def read_times(unit, way, codes, bits, row_count):
    need(unit <= 3, "times have an unknown unit")
    need(way <= 1, "times have unknown steps")
    numbers = Numbers(codes, bits)
    times, total = [], 0
    for _ in range(row_count):
        number = numbers.next()
        if way == 0:
            total += unzigzag(number)
        elif number > 0:
            total += number - 1
        else:
            total -= numbers.next()
        times.append(wrap(1_000**unit * wrap(total)))
    numbers.end()
    return times


def read_strings(columns, counts, codes, numbers, dictionary):
    """Strings of each string column."""
    source, far = Bytes(codes), Bytes(numbers)
    fresh, values = 0, {}
    for column in columns:
        lately, strings = [], []
        for code in source.take(counts[column]):
            if code == 0:
                string, fresh = fresh, fresh + 1
            elif code <= 8:
                need(code <= len(lately), "a code names no string")
                string = lately[code - 1]
            else:
                need(code == 9, "a string has an unknown code")
                string = far.varint()
            need(string < len(dictionary), "a value names no string")
            if string in lately:
                lately.remove(string)
            lately.insert(0, string)
            del lately[8:]
            strings.append(dictionary[string])
        values[column] = strings
    source.end()
    far.end()
    need(fresh == len(dictionary), "there is another number of strings")
    return values


def read_numbers(columns, counts, ways, codes, bits):
    """Values of each number column; those of floats are pairs."""
    way_bytes, numbers = Bytes(ways), Numbers(codes, bits)
    values = {}
    for column, is_float in columns:
        way = way_bytes.byte()
        form, most = way >> 4, way_bytes.byte() if is_float else 0
        need(form <= (2 if is_float else 0), "a column has an unknown form")
        need(most <= 9, "a float has too many decimals")
        plain, last = [], 0
        for _ in range(counts[column]):
            number = numbers.next()
            if way & 15 == 0:
                need(number < 1 << 63, "a number is too large")
            elif way & 15 == 1:
                number = unzigzag(number)
            else:
                need(way & 15 == 2, "a column has an unknown way")
                number = last = wrap(last + unzigzag(number))
            plain.append(number)
        values[column] = read_floats(plain, form, most, numbers) if is_float else plain
    way_bytes.end()
    numbers.end()
    return values


def read_floats(plain, form, most, numbers):
    if form == 0:
        return [(number, most) for number in plain]
    if form == 1:
        decimals = [numbers.next() for _ in plain]
        need(all(number <= most for number in decimals), "a float has too many decimals")
        scales = [10 ** (most - number) for number in decimals]
        need(all(n % scale == 0 for n, scale in zip(plain, scales)), "a float is not scaled")
        return [(n // scale, d) for n, scale, d in zip(plain, scales, decimals)]
    floats = [(number >> 4, number & 15) for number in plain]
    need(all(decimals <= most for _, decimals in floats), "a float has too many decimals")
    return floats


def print_integer(value):
    need(value >= 0, "an integer is negative")
    return b"%d" % value


def print_float(value):
    mantissa, decimals = value
    need(mantissa >= 0, "a float is negative")
    need(1 <= decimals <= 9, "a float has an impossible number of decimals")
    digits = b"%0*d" % (decimals + 1, mantissa)
    return digits[:-decimals] + b"." + digits[-decimals:]


def stamp(ts_ns, value, decimals):
    """Date and time of day, in whole seconds, and the decimals of a stamp."""
    total = ts_ns // 10 ** (9 - decimals) + value
    seconds, rest = divmod(total, 10**decimals)
    return seconds, b"%0*d" % (decimals, rest) if decimals else b""


def print_klog(value, ts_ns):
    seconds, decimals = stamp(ts_ns, value, 6)
    return strftime(seconds, "%m%d %H:%M:%S") + b"." + decimals


def print_iso(value, ts_ns, spelling):
    seconds, decimals = stamp(ts_ns, value, spelling.decimals)
    text = strftime(seconds, "%Y-%m-%d %H:%M:%S" if spelling.blank else "%Y-%m-%dT%H:%M:%S")
    need(b"1970" <= text[:4] <= b"2200", "a stamp has an impossible year")
    return text + spelling.point + decimals if decimals else text


def print_clock(value, ts_ns, spelling):
    seconds, decimals = stamp(ts_ns, value, spelling.decimals)
    text = strftime(seconds % DAY_SECONDS, "%H:%M:%S")
    return text + spelling.point + decimals if decimals else text


def strftime(seconds, form):
    try:
        return (EPOCH + timedelta(seconds=seconds)).strftime(form).encode()
    except OverflowError as error:
        raise Damaged("a stamp has an impossible year") from error


def print_hexdump(offset, data):
    def half(part):
        return b"".join(b"%02x " % byte for byte in part)

    text = bytes(byte if 0x20 <= byte <= 0x7E else 0x2E for byte in data)
    return b"%08x  %s %s |%s|" % (offset & 0xFFFFFFFF, half(data[:8]), half(data[8:]), text)


def read_log(data, row_count, raw_bytes):
    columns = frames(data, 17)
    need(len(columns[0]) <= 64, "the head is too long")
    head = Bytes(columns[0])
    template_count, string_count = head.varint(), head.varint()
    time_unit, time_way = head.byte(), head.byte()
    head.end()
    need(template_count <= row_count, "there are more templates than rows")

    column_of = {}
    texts_ = split_list(columns[1], template_count)
    templates = [parse_template(text, column_of) for text in texts_]
    dictionary = read_dictionary(columns[2], columns[3], string_count)
    need(len(columns[6]) == row_count, "there is another number of rows")
    rows = rows_to_templates(columns[6], columns[7], template_count)
    times = read_times(time_unit, time_way, columns[8], columns[9], row_count)
    flags = columns[10] * row_count if len(columns[10]) == 1 else columns[10]
    need(len(flags) == row_count, "there is another number of flags")

    kinds, counts = {}, [0] * len(column_of)
    per_template = [0] * len(templates)
    for row in rows:
        per_template[row] += 1
    for slots, rows_with in zip(templates, per_template):
        for slot in slots:
            kinds[slot.column] = slot.kind
            counts[slot.column] += rows_with
    total = sum(n for column, n in enumerate(counts) if kinds[column] != WHOLE)
    need(total <= MAX_VALUES, "there are too many values")

    strings = [column for column in range(len(counts)) if kinds[column] == STRING]
    numbers = [
        (column, kinds[column] == FLOAT)
        for column in range(len(counts))
        if kinds[column] not in (STRING, WHOLE)
    ]
    values = read_strings(strings, counts, columns[11], columns[12], dictionary)
    values.update(read_numbers(numbers, counts, columns[13], columns[14], columns[15]))
    values = {column: iter(of_column) for column, of_column in values.items()}
    whole_lengths = iter(varints(columns[4]))
    whole_text, hexdumps = Bytes(columns[5]), Bytes(columns[16])

    for row, template, ts_ns in zip(range(row_count), rows, times):
        text, at, message = texts_[template], 0, []
        for slot in templates[template]:
            message.append(text[at : slot.place])
            at = slot.after
            if slot.kind == WHOLE:
                length = next(whole_lengths, None)
                need(length is not None, "a whole message has no length")
                message.append(whole_text.take(length))
                continue
            value = next(values[slot.column])
            if slot.kind == STRING:
                message.append(value)
            elif slot.kind == INTEGER:
                message.append(print_integer(value))
            elif slot.kind == FLOAT:
                message.append(print_float(value))
            elif slot.kind == KLOG:
                message.append(print_klog(value, ts_ns))
            elif slot.kind == ISO:
                message.append(print_iso(value, ts_ns, slot.spelling))
            elif slot.kind == CLOCK:
                message.append(print_clock(value, ts_ns, slot.spelling))
            else:
                message.append(print_hexdump(value, hexdumps.take(16)))
        message = b"".join(message + [text[at:]])
        raw_bytes -= len(message) + 16
        need(raw_bytes >= 0, "messages are longer than the chunk says")
        yield log_row(ts_ns, flags[row], message)
    need(raw_bytes == 0, "messages are shorter than the chunk says")
    need(next(whole_lengths, None) is None, "lengths are left over")
    whole_text.end()
    hexdumps.end()


def log_row(ts_ns, flags, message):
    row = {
        "ts_ns": ts_ns,
        "flags": flags,
        "partial": bool(flags & 2),
        "inferred_time": bool(flags & 4),
        "level": LEVELS[flags >> 3 & 7],
    }
    try:
        row["message"] = message.decode("utf-8")
    except UnicodeDecodeError:
        row["message_hex"] = message.hex()
    return row


# Codecs 2 and 3: samples


def read_probe(data, row_count, raw_bytes):
    columns = frames(data, 20)
    need(sum(map(len, columns)) == raw_bytes, "the chunk says another size")
    stretches = read_head(columns[0], row_count)
    times = probe_times(stretches, columns[1], *columns[2:6])
    status, *phases = (
        [number - 1 if number else None for number in numbers(*columns[at : at + 2], row_count)]
        for at in range(6, 16, 2)
    )
    rests = numbers(*columns[16:18], row_count)
    errors, addresses = texts(columns[18], row_count), texts(columns[19], row_count)
    row = 0
    for stretch in stretches:
        need(errors[row] == stretch["error"], "the head has another error")
        need(addresses[row] == stretch["address"], "the head has another address")
        durations = []
        for seq in range(stretch["rows"]):
            ts_ns, mono_ns = next(times)
            parts = [phase[row] for phase in phases]
            durations.append((sum(filter(None, parts)) + unzigzag(rests[row])) % (1 << 64))
            yield {
                "ts_ns": ts_ns,
                "outcome": OUTCOMES[stretch["outcome"]],
                "seq": wrap(stretch["seq"] + seq),
                "mono_ns": mono_ns,
                "phase": stretch["phase"],
                "error_class": stretch["error_class"],
                "error": errors[row],
                "address": addresses[row],
                "status": status[row],
                **dict(zip(["dns_us", "tcp_us", "tls_us", "http_us"], parts)),
                "duration_us": durations[-1],
            }
            row += 1
        need(durations[-1] == stretch["last_us"], "the head has another last duration")
        need(max(durations) == stretch["max_us"], "the head has another longest duration")
        need(min(sum(durations), 2**64 - 1) == stretch["total_us"], "the head has another sum")
        need((ts_ns, mono_ns) == stretch["last"], "the head has another last time")


def numbers(codes, bits, count):
    need(len(codes) == count, "there is another number of rows")
    source = Numbers(codes, bits)
    values = [source.next() for _ in range(count)]
    source.end()
    return values


def read_head(data, row_count):
    source = Bytes(data)
    count = source.varint()
    words = [utf8(source.take(source.varint())) for _ in range(source.varint())]
    need(count <= row_count, "there are more stretches than rows")

    def column():
        return [source.varint() for _ in range(count)]

    def word_column():
        numbers_ = column()
        need(all(number < len(words) for number in numbers_), "a stretch names no word")
        return [words[number] for number in numbers_]

    stretches = []
    rows, outcomes = column(), column()
    need(all(rows) and sum(rows) == row_count, "stretches have other rows")
    need(all(outcome < len(OUTCOMES) for outcome in outcomes), "an outcome is unknown")
    word_columns = [word_column() for _ in range(4)]
    signed = [[unzigzag(number) for number in column()] for _ in range(6)]
    durations = [column() for _ in range(3)]
    source.end()
    interval = seq = ts_ns = mono_ns = 0
    fields = zip(rows, outcomes, zip(*word_columns), zip(*signed), zip(*durations))
    for row_count_, outcome, words_, steps_, (last, most, total) in fields:
        phase, error_class, error, address = words_
        interval = wrap(interval + steps_[0])
        seq = wrap(seq + steps_[1])
        first = wrap(ts_ns + steps_[2]), wrap(mono_ns + steps_[3])
        passed = wrap(interval * (row_count_ - 1) + steps_[4])
        stretch = {"rows": row_count_, "outcome": outcome, "seq": seq, "interval": interval}
        stretch |= {"phase": phase, "error_class": error_class, "error": error, "address": address}
        stretch |= {"last_us": last, "max_us": most, "total_us": total, "first": first}
        seq = wrap(seq + row_count_ - 1)
        ts_ns, mono_ns = wrap(first[0] + passed + steps_[5]), wrap(first[1] + passed)
        stretch["last"] = ts_ns, mono_ns
        stretches.append(stretch)
    return stretches


def probe_times(stretches, ways, *columns):
    """Time and monotonic clock of each row."""
    need(len(ways) == 3 and ways[0] <= 3 and ways[1] <= 1 and ways[2] <= 3, "times have no form")
    count = sum(stretch["rows"] - 1 for stretch in stretches)
    grid, clock = (iter(numbers(*columns[at : at + 2], count)) for at in (0, 2))
    offset = 0
    for stretch in stretches:
        ts_ns, mono_ns = stretch["first"]
        yield ts_ns, mono_ns
        for step in range(1, stretch["rows"]):
            before = mono_ns
            offset = wrap(unzigzag(next(grid)) + (offset if ways[1] else 0))
            mono_ns = stretch["first"][1] + stretch["interval"] * step + 1_000 ** ways[0] * offset
            mono_ns = wrap(mono_ns)
            ts_ns = wrap(ts_ns + mono_ns - before + 1_000 ** ways[2] * unzigzag(next(clock)))
            yield ts_ns, mono_ns


def read_sample(data, row_count, raw_bytes):
    columns = frames(data, 3)
    need(sum(map(len, columns)) == raw_bytes, "the chunk says another size")
    need(len(columns[2]) == 8 * row_count, "there is another number of rows")
    times, names = steps(columns[0], row_count), texts(columns[1], row_count)
    for ts_ns, name, (value,) in zip(times, names, struct.iter_unpack("<d", columns[2])):
        bits = struct.unpack("<Q", struct.pack("<d", value))[0]
        finite = value if math.isfinite(value) else None
        yield {"ts_ns": ts_ns, "counter": name, "value": finite, "value_bits": f"{bits:016x}"}


CODECS = {1: read_log, 2: read_probe, 3: read_sample}


def read_file(path):
    """All rows of a file, with the stream of each."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    chunks = database.execute(
        "SELECT id, codec, row_count, raw_bytes, data FROM raw_chunk ORDER BY id"
    )
    for chunk, codec, row_count, raw_bytes, data in chunks:
        need(codec in CODECS, f"chunk {chunk} has an unknown codec")
        need(row_count <= raw_bytes <= MAX_RAW_BYTES, f"chunk {chunk} has an impossible size")
        runs = database.execute(
            "SELECT kind, name, row_count FROM raw_chunk_run"
            " JOIN raw_stream ON raw_stream.id = stream_id WHERE chunk_id = ? ORDER BY ord",
            [chunk],
        ).fetchall()
        need(sum(run[2] for run in runs) == row_count, f"chunk {chunk} has other runs")
        rows = CODECS[codec](data, row_count, raw_bytes)
        streams = ((kind, name) for kind, name, count in runs for _ in range(count))
        for place, (row, (kind, name)) in enumerate(zip(rows, streams)):
            if kind == "container":
                row["output"] = "stderr" if row["flags"] & 1 else "stdout"
            yield {"kind": kind, "name": name, "chunk": chunk, "row": place, **row}
        need(next(rows, None) is None, f"chunk {chunk} has too many rows")


def main():
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} FILE.db")
    try:
        for row in read_file(sys.argv[1]):
            print(json.dumps(row))
    except (Damaged, sqlite3.Error) as error:
        sys.exit(f"{sys.argv[1]}: {error}")


if __name__ == "__main__":
    main()
