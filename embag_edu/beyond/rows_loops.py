"""Short rows as plain loops: the text to read. Numbers are float32 where nothing else is said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from embag_edu.beyond.rows_format import Rows, fma, gap, row_bytes
from embag_edu.loops import positions_of, weights_of_positions
from embag_edu.spec import Call

Numbers = list[np.float32]  # a row
F = np.float32


def pack(weight: np.ndarray, format: str) -> np.ndarray:
    """(V, bytes of a row) uint8 for weight (V, D)."""
    packed = np.zeros((len(weight), row_bytes(format, weight.shape[1])), np.uint8)
    for row in range(len(weight)):
        packed[row] = np.frombuffer(PACK[format](list(weight[row])), np.uint8)
    return packed


def unpack(rows: Rows) -> np.ndarray:
    """(V, D)."""
    table = np.zeros((rows.num_embeddings, rows.embedding_dim), F)
    for row in range(rows.num_embeddings):
        table[row] = unpacked_row(rows, row)
    return table


def unpacked_row(rows: Rows, row: int) -> Numbers:
    """The D numbers of one row."""
    packed = rows.packed[row].tobytes()
    return UNPACK[rows.format](packed[: rows.numbers], packed[rows.numbers :])


def forward(rows: Rows, call: Call) -> np.ndarray:
    """(B, D): each row is unpacked when its turn comes."""
    output = np.zeros((call.num_bags, call.embedding_dim), F)
    psw = weights_of_positions(call)
    for bag in range(call.num_bags):
        positions = positions_of(call, bag)
        for position in positions:
            numbers = unpacked_row(rows, call.indices[position])
            for d in range(call.embedding_dim):
                if call.mode != "max":
                    output[bag, d] += psw[position] * numbers[d]
                elif position == positions[0] or numbers[d] > output[bag, d]:
                    output[bag, d] = numbers[d]
        if call.mode == "mean" and positions:
            output[bag] /= F(len(positions))
    return output


# ---- 8 and 4 bits: bias + scale * q ---------------------------------------------------------


def pack_int8(numbers: Numbers) -> bytes:
    """The least number becomes 0, the largest 255. (1e-8: torch's; a row of equal numbers.)"""
    bias, span = min(numbers), max(numbers) - min(numbers)
    scale, inverse = span / F(255), F(255) / (span + F(1e-8))
    q = [int(np.rint((number - bias) * inverse)) for number in numbers]
    return bytes(q) + scale.tobytes() + bias.tobytes()


def unpack_int8(q: bytes, tail: bytes) -> Numbers:
    """One fma for each."""
    scale, bias = np.frombuffer(tail[:8], F)
    return [F(fma(F(byte), scale, bias)) for byte in q]


def pack_int4(numbers: Numbers) -> bytes:
    """Two numbers to a byte. Scale and bias are rounded first, so q counts from what is stored."""
    bias = F(np.float16(min(numbers)))
    span = max(numbers) - bias  # less than 0 where bias was rounded up
    scale = F(np.float16(span / F(15))) or F(1)
    inverse = F(1) / scale
    q = [min(max(int(np.rint((number - bias) * inverse)), 0), 15) for number in numbers]
    pairs = [even | odd << 4 for even, odd in zip(q[::2], q[1::2], strict=True)]
    return bytes(pairs) + np.float16(scale).tobytes() + np.float16(bias).tobytes()


def unpack_int4(pairs: bytes, tail: bytes) -> Numbers:
    """The lower four bits, the upper four."""
    scale, bias = np.frombuffer(tail[:4], np.float16).astype(F)
    return [F(fma(F(q), scale, bias)) for pair in pairs for q in (pair & 15, pair >> 4)]


# ---- 8 bits with a point: scale * q ---------------------------------------------------------


def pack_float8(numbers: Numbers) -> bytes:
    """The number that is largest in size becomes 448, the largest there is."""
    scale = max(abs(number) for number in numbers) / F(448)
    if scale < np.finfo(F).tiny:  # zeros, or nearly: what is divided by that is not exact
        scale = F(1)
    return bytes(encoded_float8(number / scale) for number in numbers) + scale.tobytes()


def unpack_float8(q: bytes, tail: bytes) -> Numbers:
    """One product for each."""
    scale = np.frombuffer(tail[:4], F)[0]
    return [F(decoded_float8(byte)) * scale for byte in q]


def decoded_float8(byte: int) -> float:
    """What a byte means: sign, 4 bits of exponent, 3 of fraction; exponent 0 has no hidden 1."""
    sign, exponent, fraction = byte >> 7, byte >> 3 & 15, byte & 7
    size = fraction * 2.0**-9 if exponent == 0 else (8 + fraction) * 2.0 ** (exponent - 10)
    return -size if sign else size


def encoded_float8(number: np.float32) -> int:
    """The nearest of the 127 sizes; of two, the even byte. More than 448 is 448, as in torch."""
    sizes = [decoded_float8(byte) for byte in range(127)]  # 127 itself is NaN
    byte = min(range(127), key=lambda byte: (abs(sizes[byte] - abs(float(number))), byte % 2))
    return byte | 128 if np.signbit(number) else byte


# ---- 16 bits --------------------------------------------------------------------------------


def pack_float16(numbers: Numbers) -> bytes:
    """Rounded to the nearest."""
    return b"".join(np.float16(number).tobytes() for number in numbers)


def unpack_float16(numbers: bytes, tail: bytes) -> Numbers:
    """Exact."""
    return [F(number) for number in np.frombuffer(numbers, np.float16)]


def pack_bfloat16(numbers: Numbers) -> bytes:
    """The upper 16 of 32 bits; half of the lower ones is added first, less 1 before an even."""
    packed = b""
    for number in numbers:
        bits = int(number.view(np.uint32))
        packed += np.uint16(bits + 0x7FFF + (bits >> 16 & 1) >> 16).tobytes()
    return packed


def unpack_bfloat16(numbers: bytes, tail: bytes) -> Numbers:
    """Sixteen zeros behind."""
    return [np.uint32(int(upper) << 16).view(F) for upper in np.frombuffer(numbers, np.uint16)]


PACK: dict[str, Callable[[Numbers], bytes]] = {
    "float16": pack_float16,
    "bfloat16": pack_bfloat16,
    "int8": pack_int8,
    "int4": pack_int4,
    "float8_e4m3fn": pack_float8,
}
UNPACK: dict[str, Callable[[bytes, bytes], Numbers]] = {
    "float16": unpack_float16,
    "bfloat16": unpack_bfloat16,
    "int8": unpack_int8,
    "int4": unpack_int4,
    "float8_e4m3fn": unpack_float8,
}


# ---- rounding by chance ---------------------------------------------------------------------


def stochastic(
    numbers: np.ndarray, elements: np.ndarray, dtype: np.dtype, seed: int, step: int
) -> np.ndarray:
    """float32 numbers, each rounded to a number of dtype, up or down."""
    rounded = np.empty(numbers.shape, dtype)
    for at in np.ndindex(numbers.shape):
        bits = random_bits(int(elements[at]), seed, step)
        rounded[at] = rounded_by(F(numbers[at]), bits, dtype.name)
    return rounded


def sgd_step(
    weight: np.ndarray,
    rows: np.ndarray,
    gradient: np.ndarray,
    lr: np.float32,
    seed: int,
    step: int,
) -> None:
    """weight[rows] -= lr * gradient: two roundings to float32, and one by chance."""
    D = weight.shape[1]
    for k, row in enumerate(rows):
        for d in range(D):
            moved = F(weight[row, d]) - lr * gradient[k, d]
            bits = random_bits(int(row) * D + d, seed, step)
            weight[row, d] = rounded_by(moved, bits, weight.dtype.name)


def rounded_by(number: np.float32, bits: int, format: str) -> float:
    """Up where the part that is cut off, in steps of the format, is more than bits / 2^32."""
    if not np.isfinite(number):
        return float(number)
    unit = float(gap(number, format))
    whole, part = divmod(abs(float(number)) / unit, 1.0)
    size = (whole + (bits < part * 2**32)) * unit
    return -size if np.signbit(number) else size


def random_bits(element: int, seed: int, step: int) -> int:
    """32 bits that depend on these three numbers alone: the first of Philox's four."""
    counter = (element % 2**32, element >> 32, step % 2**32, step >> 32)
    return philox(counter, (seed % 2**32, seed >> 32))[0]


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox 4x32-10: 128 bits become 128 others, by ten rounds of products.

    Source: Salmon, Moraes, Dror and Shaw, Parallel Random Numbers: As Easy as 1, 2, 3 (2011).
    """
    a, b, c, d = counter
    one, two = key
    for _ in range(10):
        high_a, low_a = divmod(0xD2511F53 * a, 2**32)
        high_c, low_c = divmod(0xCD9E8D57 * c, 2**32)
        a, b, c, d = high_c ^ b ^ one, low_c, high_a ^ d ^ two, low_a
        one, two = (one + 0x9E3779B9) % 2**32, (two + 0xBB67AE85) % 2**32
    return a, b, c, d
