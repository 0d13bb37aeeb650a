"""The pieces on which a small network is affine, in rational numbers, and the largest value of its margins."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from flint import fmpq, fmpq_mat

from tests.soundness.exact import ONE, ZERO, Domain, Piece, Row, dot, matrix, root
from tightrope.networks import Composition, Convolution, Dense, FeedForward, MonDEQ, Sparse


class TooMany(Exception):
    """More pieces than a case may have."""


def layer_matrix(layer) -> fmpq_mat:
    """(W, b) (m, n + 1) of an affine layer, by the definition of its kind."""
    if isinstance(layer, Composition):
        found = None
        for part in layer.layers:
            own = layer_matrix(part)
            found = own if found is None else own * _homogeneous(found)
        return found
    if isinstance(layer, Dense):
        return matrix(np.hstack([layer.weight, layer.bias[:, None]]))
    if isinstance(layer, Convolution):
        return _convolution(layer)
    if isinstance(layer, Sparse):
        W = np.zeros((layer.output_size, layer.inputs))
        for i, (start, stop) in enumerate(itertools.pairwise(layer.starts)):
            W[i, layer.columns[start:stop]] = layer.weight[start:stop]
        return matrix(np.hstack([W, layer.bias[:, None]]))
    return matrix(np.hstack([np.diag(layer.scale), layer.shift[:, None]]))


def _convolution(layer: Convolution) -> fmpq_mat:
    (_, height, width), (sh, sw), (ph, pw) = layer.input_shape, layer.stride, layer.padding
    outputs, _, kh, kw = layer.weight.shape
    rows = []
    for o in range(outputs):
        for i in range(0, height + 2 * ph - kh + 1, sh):
            for j in range(0, width + 2 * pw - kw + 1, sw):
                row = np.zeros(layer.input_shape)
                for a, b in itertools.product(range(kh), range(kw)):
                    if 0 <= i - ph + a < height and 0 <= j - pw + b < width:
                        row[:, i - ph + a, j - pw + b] += layer.weight[o, :, a, b]
                rows.append([*row.ravel(), layer.bias[o]])
    return matrix(np.array(rows))


def _homogeneous(rows: fmpq_mat) -> fmpq_mat:
    """The rows, and below them that of the constant 1."""
    n = rows.ncols()
    return fmpq_mat(rows.nrows() + 1, n, [*rows.entries(), *([ZERO] * (n - 1)), ONE])


def _stack(*parts: fmpq_mat) -> fmpq_mat:
    return fmpq_mat(sum(p.nrows() for p in parts), parts[0].ncols(), [v for p in parts for v in p.entries()])


def _minus(row: Row) -> Row:
    return tuple(-v for v in row)


@dataclass(frozen=True)
class Pieces:
    """A network on a region: `found` covers it, `names` says which rows of the values are what.

    Attributes
    ----------
    names
        "h1", "h2", ... preactivations of layers ("z", "h" of a monDEQ) and "F", the outputs -> slice of rows.
    patterns
        For each piece the phases of all neurons, 1 or 0.
    """

    domain: Domain
    names: dict[str, slice]
    found: tuple[Piece, ...]
    patterns: tuple[tuple[int, ...], ...]
    _known: dict = field(default_factory=dict)

    def rows(self, piece: Piece, name: str) -> list[Row]:
        """The affine functions of (d, 1) on a piece."""
        return piece.values.tolist()[self.names[name]]

    def points(self, number: int) -> list[Row]:
        """Points of piece and region among which affine functions are largest; only nearly so with a sphere."""
        piece, radius = self.found[number], self.domain.radius
        points = [point for point, _ in piece.corners]
        if radius is None:
            return points
        return [p for p in points if dot(p, p) <= radius * radius] + list(_towards_corners(piece, radius))

    def images(self, number: int) -> list[Row]:
        """The values of all functions of a piece, (k, N), at its :meth:`points`."""
        if number not in self._known:
            piece, points = self.found[number], self.points(number)
            columns = fmpq_mat(len(points), self.domain.size + 1, [v for point in points for v in (*point, ONE)])
            self._known[number] = (piece.values * columns.transpose()).tolist()
        return self._known[number]

    def attained(self, name: str) -> Iterator[Row]:
        """Yield the values of these functions at :meth:`points`, one after the other."""
        for number in range(len(self.found)):
            yield from zip(*self.images(number)[self.names[name]], strict=True)

    def extremes(self, name: str) -> tuple[list[fmpq], list[fmpq]]:
        """Least and largest value of each function; attained, and those of the whole region without a sphere."""
        if name not in self._known:
            own = [self.images(number)[self.names[name]] for number in range(len(self.found))]
            own = [rows for rows in own if rows and rows[0]]
            self._known[name] = [[end(map(end, each)) for each in zip(*own, strict=True)] for end in (min, max)]
        return self._known[name]

    def largest_margin(self, label: int, target: int) -> tuple[fmpq, Row]:
        """The largest F_target - F_label, and the d that attains it; of a sphere up to 1e-30."""
        if (label, target) in self._known:
            return self._known[label, target]
        best: tuple[fmpq, Row] | None = None
        for number, piece in enumerate(self.found):
            scores = self.images(number)[self.names["F"]]
            found = [a - b for a, b in zip(scores[target], scores[label], strict=True)]
            if found and (best is None or max(found) > best[0]):
                best = max(found), self.points(number)[found.index(max(found))]
            if self.domain.radius is not None:
                rows = self.rows(piece, "F")
                row = tuple(a - b for a, b in zip(rows[target], rows[label], strict=True))
                for point in _on_sphere(piece, row[:-1], self.domain.radius):
                    value = dot(row, (*point, ONE))
                    if best is None or value > best[0]:
                        best = value, point
        self._known[label, target] = best
        return best

    def largest_margins(self, label: int) -> dict[int, fmpq]:
        """The largest F_target - F_label for every other target."""
        classes = self.names["F"].stop - self.names["F"].start
        return {k: self.largest_margin(label, k)[0] for k in range(classes) if k != label}


def _towards_corners(piece: Piece, radius: fmpq) -> Iterator[Row]:
    """Points of the piece just inside the sphere, on the way from 0 to its corners outside."""
    square = radius * radius
    for point, _ in piece.corners:
        size = dot(point, point)
        if size > square:
            t = root(square / size)
            inner = tuple(t * v for v in point)
            if all(dot(side, (*inner, ONE)) >= 0 for side in piece.sides):
                yield inner


def _on_sphere(piece: Piece, a: Row, radius: fmpq) -> Iterator[Row]:
    """Points that satisfy the conditions of optimality of max a'd on the sphere, for each set of tight sides."""
    n = len(a)
    used = [i for i in range(len(piece.sides)) if any(mask >> i & 1 for _, mask in piece.corners)]
    pairs = ((i, j) for i, j in itertools.combinations(used, 2) if any(m >> i & m >> j & 1 for _, m in piece.corners))
    for tight in ((), *((i,) for i in used if n > 1), *(pairs if n > 2 else ())):
        rows = [piece.sides[i] for i in tight]
        projected = _projected(rows, a)
        if projected is None:
            continue
        foot, along = projected
        left, length = radius * radius - dot(foot, foot), dot(along, along)
        if left < 0:
            continue
        t = root(left / length) if length else ZERO
        point = tuple(f + t * v for f, v in zip(foot, along, strict=True))
        if all(dot(side, (*point, ONE)) >= 0 for i, side in enumerate(piece.sides) if i not in tight):
            yield point


def _projected(rows: list[Row], a: Row) -> tuple[Row, Row] | None:
    """The point of {row @ (d, 1) = 0} next to 0, and a's part along it; None where the rows depend."""
    if not rows:
        return tuple(ZERO for _ in a), a
    A = fmpq_mat(len(rows), len(a), [v for row in rows for v in row[:-1]])
    gram = A * A.transpose()
    if not gram.det():
        return None
    right = fmpq_mat(len(rows), 2, [v for row in rows for v in (-row[-1], dot(row[:-1], a))])
    steps = (A.transpose() * gram.solve(right)).tolist()
    return tuple(s[0] for s in steps), tuple(v - s[1] for v, s in zip(a, steps, strict=True))


def feedforward_pieces(network: FeedForward, where: Domain, *, closed: bool = False, most: int = 400) -> Pieces:
    """The pieces of a feed-forward network.

    Parameters
    ----------
    closed
        Also the pieces without interior, one for each pattern of phases that some point allows.
    most
        Pieces at a time.

    Raises
    ------
    TooMany
    """
    layers = [layer_matrix(layer) for layer in network.layers]
    names, start = {}, 0
    for i, layer in enumerate(layers, start=1):
        names["F" if i == len(layers) else f"h{i}"] = slice(start, start + layer.nrows())
        start += layer.nrows()
    state: list[tuple[Piece, fmpq_mat, tuple[fmpq_mat, ...], tuple[int, ...]]] = [(where.whole, where.affine, (), ())]
    for number, layer in enumerate(layers):
        after = []
        for piece, x, seen, pattern in state:
            h = layer * _homogeneous(x)
            if number == len(layers) - 1:
                after.append((piece, h, (*seen, h), pattern))
                continue
            parts = [(piece, h.tolist(), pattern)]
            for j in range(h.nrows()):
                split = []
                for part, rows, phases in parts:
                    both = [(part.cut(rows[j]), 1), (part.cut(_minus(rows[j])), 0)]
                    both = [(p, phase) for p, phase in both if p is not None]
                    if not closed:
                        solid = [(p, phase) for p, phase in both if len(both) == 1 or _reaches(p, rows[j])]
                        both = (solid or both)[: 2 if any(rows[j]) else 1]
                    for p, phase in both:
                        own = rows if phase else [*rows[:j], tuple([ZERO] * len(rows[j])), *rows[j + 1 :]]
                        split.append((p, own, (*phases, phase)))
                parts = split
                if len(after) + len(parts) > most:
                    raise TooMany
            for part, rows, phases in parts:
                z = fmpq_mat(h.nrows(), h.ncols(), [v for row in rows for v in row])
                after.append((part, z, (*seen, h), phases))
        state = after
    found = tuple(Piece(p.corners, p.sides, _stack(*seen)) for p, _, seen, _ in state)
    return Pieces(where, names, found, tuple(pattern for *_, pattern in state))


def _reaches(piece: Piece, row: Row) -> bool:
    """Whether a function is not 0 on all of a piece."""
    return any(dot(row, (*point, ONE)) for point, _ in piece.corners)


def mondeq_pieces(network: MonDEQ, where: Domain) -> Pieces:
    """The pieces of a monDEQ, closed, one for each set of active neurons that some point allows."""
    p, n = network.width, where.size + 1
    right = matrix(np.hstack([network.U, network.u[:, None]])) * _homogeneous(where.affine)
    W, out = matrix(network.W), matrix(np.hstack([network.C, network.c[:, None]]))
    found, patterns = [], []
    for pattern in itertools.product((0, 1), repeat=p):
        on = [i for i in range(p) if pattern[i]]
        z = fmpq_mat(p, n)
        if on:
            z_on = active(W, on).solve(fmpq_mat(len(on), n, [v for i in on for v in right.tolist()[i]]))
            for k, i in enumerate(on):
                for c in range(n):
                    z[i, c] = z_on[k, c]
        h = W * z + right
        piece: Piece | None = where.whole
        for i, row in enumerate(h.tolist()):
            piece = piece.cut(tuple(row) if pattern[i] else _minus(row))
            if piece is None:
                break
        if piece is None:
            continue
        found.append(Piece(piece.corners, piece.sides, _stack(z, h, out * _homogeneous(z))))
        patterns.append(pattern)
    names = {"z": slice(0, p), "h": slice(p, 2 * p), "F": slice(2 * p, 2 * p + network.classes)}
    return Pieces(where, names, tuple(found), tuple(patterns))


def active(W: fmpq_mat, on: Sequence[int]) -> fmpq_mat:
    """I - W on the active neurons."""
    return fmpq_mat(len(on), len(on), [(ONE if i == j else ZERO) - W[i, j] for i in on for j in on])


def outputs_at(network: MonDEQ | FeedForward, x: Sequence[fmpq]) -> list[fmpq]:
    """F(x) (K,)."""
    column = fmpq_mat(len(x), 1, list(x))
    if isinstance(network, MonDEQ):
        where = Domain(column, fmpq_mat(len(x), 0), Piece((((), 0),), ()), None)
        found = mondeq_pieces(network, where)
        return [row[0] for row in found.rows(found.found[0], "F")]
    for number, layer in enumerate(network.layers):
        column = layer_matrix(layer) * _homogeneous(column)
        if number < len(network.layers) - 1:
            column = fmpq_mat(column.nrows(), 1, [max(v, ZERO) for v in column.entries()])
    return column.entries()


def slopes(pieces: Pieces, name: str = "F") -> list[fmpq_mat]:
    """Jacobians (K, n) with respect to d on the pieces that have an interior."""
    n = pieces.domain.size
    found = []
    for piece in pieces.found:
        if piece.solid():
            found.append(fmpq_mat(0, n) if n == 0 else _columns(pieces.rows(piece, name), n))
    return found


def _columns(rows: list[Row], n: int) -> fmpq_mat:
    return fmpq_mat(len(rows), n, [v for row in rows for v in row[:n]])


def rounding(network, x: list[fmpq]) -> fmpq:
    """What a forward pass in float64 may lose: 0 for a monDEQ, whose margins are less their error."""
    if not isinstance(network, FeedForward):
        return ZERO
    size, terms, tiny = [abs(v) for v in x], 0, fmpq(1, 2**1022)
    for layer in network.layers:
        sizes, products = layer_sizes(layer)
        terms += products
        size = [dot(row, (*size, ONE)) + tiny for row in sizes.tolist()]
    return 2 * fmpq(terms + 4, 2**53) * max(size)


def layer_sizes(layer) -> tuple[fmpq_mat, int]:
    """(|W|, |b|) multiplied through, and the number of terms of all parts."""
    parts = getattr(layer, "layers", (layer,))
    found, terms = None, 0
    for part in parts:
        own = layer_matrix(part)
        own = fmpq_mat(own.nrows(), own.ncols(), [abs(v) for v in own.entries()])
        terms += own.ncols() + 1
        if found is not None:
            n = found.ncols()
            own = own * fmpq_mat(found.nrows() + 1, n, [*found.entries(), *([ZERO] * (n - 1)), ONE])
        found = own
    return found, terms
