"""Tile plans: which pixels are computed together, and which are read to compute them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import overload

from geotrans.errors import TilingError
from geotrans.grid.window import Window


@dataclass(frozen=True, slots=True)
class Tile:
    """One cell of a plan.

    Attributes:
        row: Row of the cell in the plan.
        col: Column of the cell in the plan.
        core: Pixels whose values come from this tile, always inside the scene.
        read: Pixels its network sees: core and halo. May reach beyond the scene, where the
            reader mirrors it.
    """

    row: int
    col: int
    core: Window
    read: Window


@dataclass(frozen=True, slots=True)
class TilePlan(Sequence[Tile]):
    """Cores that cover an area exactly once, each with a same-size window to read.

    A network with stride `align` gives the same value for a pixel in two windows only if both
    start on the same phase of that stride. Windows therefore start on multiples of `align`
    counted from the anchor, a point fixed to the ground, and not from the scene or the area.

    Attributes:
        shape: `(height, width)` of the scene, px.
        area: Pixels to translate, inside the scene.
        row_edges: First row of each row of cores, and the end of the last.
        col_edges: First column of each column of cores, and the end of the last.
        window_shape: `(height, width)` of every read, px, multiples of `align`.
        halo: Context on each side of a core, px.
        align: Stride of the network, px.
        anchor: `(row, col)` of the scene's first pixel on the ground lattice.
    """

    shape: tuple[int, int]
    area: Window
    row_edges: tuple[int, ...]
    col_edges: tuple[int, ...]
    window_shape: tuple[int, int]
    halo: int
    align: int
    anchor: tuple[int, int]

    @property
    def n_rows(self) -> int:
        """Rows of cores."""
        return len(self.row_edges) - 1

    @property
    def n_cols(self) -> int:
        """Columns of cores."""
        return len(self.col_edges) - 1

    @property
    def chunks(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Heights and widths of the cores, as Dask writes chunks."""
        return _compute_lengths(self.row_edges), _compute_lengths(self.col_edges)

    @property
    def overhead(self) -> float:
        """Pixels read per pixel translated."""
        height, width = self.window_shape
        return len(self) * height * width / (self.area.height * self.area.width)

    def __len__(self) -> int:
        return self.n_rows * self.n_cols

    @overload
    def __getitem__(self, index: int) -> Tile: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Tile, ...]: ...
    def __getitem__(self, index: int | slice) -> Tile | tuple[Tile, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"tile {index} of a plan of {len(self)}")
        row, col = divmod(index % len(self), self.n_cols)
        return self.tile(row, col)

    def __iter__(self) -> Iterator[Tile]:
        return (self.tile(row, col) for row in range(self.n_rows) for col in range(self.n_cols))

    def tile(self, row: int, col: int) -> Tile:
        """The tile in cell `(row, col)`."""
        top, bottom = self.row_edges[row], self.row_edges[row + 1]
        left, right = self.col_edges[col], self.col_edges[col + 1]
        height, width = self.window_shape
        read_row = _floor_to_lattice(top - self.halo, self.align, self.anchor[0])
        read_col = _floor_to_lattice(left - self.halo, self.align, self.anchor[1])
        core = Window(left, top, right - left, bottom - top)
        return Tile(row, col, core, Window(read_col, read_row, width, height))

    def _repr_html_(self) -> str:
        from geotrans.html.card import draw_grid, render_card

        def as_rectangle(window: Window) -> tuple[int, int, int, int]:
            return window.col_off, window.row_off, window.width, window.height

        middle = self.tile(self.n_rows // 2, self.n_cols // 2)
        heights, widths = self.chunks
        return render_card(
            f"{len(self)} tiles",
            f"of {self.area.width} x {self.area.height} px",
            [
                ("cores", f"up to {max(widths)} x {max(heights)} px"),
                ("windows", f"{middle.read.width} x {middle.read.height} px, the dashed one"),
                ("halo", f"{self.halo} px on each side"),
                ("stride", f"{self.align} px"),
                ("computed", f"{self.overhead:.2f} px for each px of the product"),
            ],
            figure=draw_grid(
                as_rectangle(self.area),
                rows=self.row_edges,
                cols=self.col_edges,
                window=as_rectangle(middle.read),
                footprint=as_rectangle(Window.whole(self.shape)),
            ),
        )

    def to_json(self) -> str:
        """The plan as one line of JSON, the same for the same plan."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TilePlan:
        """The plan that `to_json` wrote."""
        fields = json.loads(text)
        height, width = fields["window_shape"]
        row, col = fields["anchor"]
        rows, cols = fields["shape"]
        return cls(
            shape=(rows, cols),
            area=Window(**fields["area"]),
            row_edges=tuple(fields["row_edges"]),
            col_edges=tuple(fields["col_edges"]),
            window_shape=(height, width),
            halo=fields["halo"],
            align=fields["align"],
            anchor=(row, col),
        )


def plan_tiles(
    shape: tuple[int, int],
    *,
    tile: int,
    halo: int,
    align: int = 1,
    area: Window | None = None,
    anchor: tuple[int, int] = (0, 0),
) -> TilePlan:
    """Cut a grid into tiles whose cores cover every pixel of an area exactly once.

    Cores are as equal as the lattice allows, so that no full window is computed for a narrow core.

    Args:
        shape: `(height, width)` of the scene, px.
        tile: Largest core edge, px; rounded down to a multiple of `align`, but not below it.
        halo: Context each core needs on each side, px.
        align: Stride of the network, px.
        area: Pixels to translate; the whole scene unless given.
        anchor: `(row, col)` of the scene's first pixel on the ground lattice.

    Returns:
        Tiles row by row from the top left.

    Raises:
        TilingError: If a size is not positive, or the area is empty or leaves the scene.

    Examples:
        >>> import geotrans
        >>> plan = geotrans.plan_tiles((900, 1200), tile=512, halo=45, align=16)
        >>> len(plan), plan.chunks, plan.window_shape
        (6, ((464, 436), (400, 400, 400)), (560, 496))
    """
    area = Window.whole(shape) if area is None else area
    if tile < 1 or halo < 0 or align < 1:
        raise TilingError(
            f"asked for tiles of {tile} px with a halo of {halo} px aligned to {align} px; "
            "tile and align must be at least 1, halo at least 0"
        )
    if area.is_empty or not Window.whole(shape).contains(area):
        raise TilingError(
            f"asked to tile {area} of a scene of {shape[1]} x {shape[0]} px; "
            "the area must hold at least one pixel and lie inside the scene"
        )
    row_edges = _choose_edges(area.row_off, area.row_end, tile, align, anchor[0])
    col_edges = _choose_edges(area.col_off, area.col_end, tile, align, anchor[1])
    window_shape = (
        _choose_window_size(row_edges, halo, align, anchor[0]),
        _choose_window_size(col_edges, halo, align, anchor[1]),
    )
    return TilePlan(shape, area, row_edges, col_edges, window_shape, halo, align, anchor)


def _floor_to_lattice(position: int, align: int, anchor: int) -> int:
    """Largest lattice position not right of `position`."""
    return (position + anchor) // align * align - anchor


def _ceil_to_lattice(position: int, align: int, anchor: int) -> int:
    """Smallest lattice position not left of `position`."""
    return -_floor_to_lattice(-position, align, -anchor)


def _compute_lengths(edges: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(b - a for a, b in pairwise(edges))


def _choose_edges(start: int, stop: int, tile: int, align: int, anchor: int) -> tuple[int, ...]:
    """Core edges from `start` to `stop`; the inner ones lie on the lattice."""
    first = _floor_to_lattice(start, align, anchor)
    extent = _ceil_to_lattice(stop, align, anchor) - first
    largest = max(align, tile // align * align)
    n_tiles = -(-extent // largest)
    core = -(-extent // (n_tiles * align)) * align
    inner = range(first + core, stop, core)
    return (start, *inner, stop)


def _choose_window_size(edges: tuple[int, ...], halo: int, align: int, anchor: int) -> int:
    """Smallest multiple of `align` that holds every core of an axis with its halo."""
    return max(
        _ceil_to_lattice(b + halo, align, anchor) - _floor_to_lattice(a - halo, align, anchor)
        for a, b in pairwise(edges)
    )
