"""Makes screenshots small enough to keep: 256 colours, packed as tightly as zlib can."""
import collections
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = 256
ALIKE = 60  # Squared distance in red, green and blue that nobody sees.


def distance(one, other):
    return sum((left - right) ** 2 for left, right in zip(one, other))


def chunks(png):
    at = len(SIGNATURE)
    while at < len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        yield kind, png[at + 8:at + 8 + size]
        at += 12 + size


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def unfiltered(data, width, height, depth):
    """PNG specification, section 9: the rows without their filters. `depth`: bytes of a pixel."""
    stride = width * depth
    above = bytearray(stride)
    for row in range(height):
        kind = data[row * (stride + 1)]
        line = bytearray(data[row * (stride + 1) + 1:(row + 1) * (stride + 1)])
        if kind == 1:
            for at in range(depth, stride):
                line[at] = (line[at] + line[at - depth]) & 255
        elif kind == 2:
            line = bytearray((one + other) & 255 for one, other in zip(line, above))
        elif kind == 3:
            for at in range(stride):
                line[at] = (line[at] + ((line[at - depth] if at >= depth else 0) + above[at]) // 2) & 255
        elif kind == 4:
            for at in range(stride):
                left, corner = (line[at - depth], above[at - depth]) if at >= depth else (0, 0)
                up = above[at]
                guess = left + up - corner
                to_left, to_up, to_corner = abs(guess - left), abs(guess - up), abs(guess - corner)
                line[at] = (line[at] + (left if to_left <= to_up and to_left <= to_corner else up if to_up <= to_corner else corner)) & 255
        yield line
        above = line


def small(png):
    parts = collections.defaultdict(bytes)
    for kind, data in chunks(png):
        parts[kind] += data
    width, height, bits, colour_type, _, _, interlace = struct.unpack(">IIBBBBB", parts[b"IHDR"])
    if bits != 8 or colour_type not in (2, 6) or interlace:
        return png
    depth = 4 if colour_type == 6 else 3
    rows = [[bytes(line[at:at + 3]) for at in range(0, len(line), depth)]
            for line in unfiltered(zlib.decompress(parts[b"IDAT"]), width, height, depth)]
    counts = collections.Counter(pixel for row in rows for pixel in row)
    palette = []
    for colour, _ in counts.most_common():
        # Shades of text are many and alike; a colour that is rare and unlike the others must not lose its place to them.
        if len(palette) < COLOURS and all(distance(colour, other) >= ALIKE for other in palette):
            palette.append(colour)
    place = {colour: at for at, colour in enumerate(palette)}
    for colour in counts:
        if colour not in place:
            place[colour] = min(range(len(palette)), key=lambda at: distance(palette[at], colour))
    data = b"".join(b"\0" + bytes(place[pixel] for pixel in row) for row in rows)
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)) + chunk(b"PLTE", b"".join(palette)) + \
        chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")
