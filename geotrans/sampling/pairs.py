"""From a configuration to pairs of open scenes in splits that share no ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from geotrans.errors import SamplingError
from geotrans.labelling.scene import LabelScene
from geotrans.sampling.config import (
    BlockSplits,
    BoxSplits,
    DataConfig,
    DerivedSide,
    FolderSplits,
    MapSide,
    PolygonSplits,
    RasterSide,
    Side,
    find_data_root,
)
from geotrans.sampling.matching import (
    ScenePair,
    find_files,
    match_scenes,
    open_scenes,
    require_key,
)
from geotrans.sampling.reading import ClassSide, DrawnSide, PairReader, Renderer, SceneSide
from geotrans.sampling.regions import Regions
from geotrans.sampling.splits import block_regions, box_regions, check_disjoint, polygon_regions
from geotrans.scene.base import Scene


@dataclass(frozen=True)
class PairedData:
    """The pairs a configuration names, in splits that share no ground.

    Attributes:
        config: The configuration.
        root: Folder its paths start from.
        pairs: Pairs by split; the same ones in each where regions separate the splits.
        regions: Ground of each split; None where splits lie in folders.
    """

    config: DataConfig
    root: Path
    pairs: Mapping[str, Sequence[ScenePair]]
    regions: Regions | None
    _renderers: dict[str, Renderer] = field(default_factory=dict)

    @classmethod
    def open(cls, config: DataConfig) -> PairedData:
        """Open the scenes a configuration names and pair them.

        Raises:
            SamplingError: If a split is empty, or two share ground.
            ConfigError: If a pattern does not fit a name.
        """
        root = find_data_root(config)
        if config.splits is None:
            return cls(config, root, {}, None)
        if isinstance(config.splits, FolderSplits):
            folders = config.splits.folders
            pairs = {
                split: [pair for entry in entries for pair in _find_pairs(config, root, entry)]
                for split, entries in folders.items()
            }
            check_disjoint(
                {split: [p.footprint for p in members] for split, members in pairs.items()}
            )
            return cls(config, root, pairs, None)
        shared = _find_pairs(config, root, config.splits.scenes)
        regions = _make_regions(config.splits, root, shared)
        return cls(config, root, dict.fromkeys(regions.shapes, shared), regions)

    def open_reader(self, pair: ScenePair) -> PairReader:
        """Both sides of a pair on its grid."""
        on_grid, off_grid = pair.grid, pair.other
        is_target = self.config.grid_side == "target"
        scenes = (off_grid, on_grid) if is_target else (on_grid, off_grid)
        return PairReader(
            pair.grid,
            self._open_side(self.config.source, scenes[0], pair.grid, "data.source.bands"),
            self._open_side(self.config.target, scenes[1], pair.grid, "data.target.bands"),
        )

    def _open_side(
        self, side: Side, scene: Scene | None, grid: Scene, option: str
    ) -> SceneSide | DrawnSide | ClassSide:
        if isinstance(side, MapSide):
            return DrawnSide(self._get_renderer(side, grid), grid.geobox, side.margin)
        if isinstance(side, DerivedSide):
            return ClassSide.open(LabelScene(grid, side.recipe), grid.geobox, option="data.source")
        assert scene is not None
        if side.classes:
            option = option.removesuffix(".bands")
            return ClassSide.open(scene, grid.geobox, option=option)
        return SceneSide.open(
            scene,
            grid.geobox,
            wanted=side.bands,
            resampling=side.resampling,
            units=side.units,
            derive=side.derive,
            option=option,
        )

    def _get_renderer(self, side: MapSide, grid: Scene) -> Renderer:
        from geotrans.maps.renderer import MapRenderer

        if grid.geobox.crs is None:
            raise SamplingError(f"a map cannot be drawn on {grid.name}: it has no CRS")
        crs = grid.crs_wkt or grid.geobox.crs.to_wkt()
        if crs not in self._renderers:
            self._renderers[crs] = MapRenderer(self.root / side.vectors, side.style, crs)
        return self._renderers[crs]


def _find_pairs(config: DataConfig, root: Path, entry: str) -> list[ScenePair]:
    grid = getattr(config, config.grid_side)
    other = config.source if config.grid_side == "target" else config.target
    grids = open_scenes(find_side_files(root, grid, entry))
    if isinstance(other, MapSide | DerivedSide):
        matched: list[tuple[Scene, Scene | None]] = [(scene, None) for scene in grids]
    else:
        matched = list(
            match_scenes(
                grids, open_scenes(find_side_files(root, other, entry)), pattern=config.pair
            )
        )
    return [
        ScenePair(
            grid=scene,
            other=partner,
            place=require_key(config.place, scene.name, option="place"),
            group=""
            if config.group is None
            else require_key(config.group, scene.name, option="group"),
        )
        for scene, partner in matched
    ]


def find_side_files(root: Path, side: RasterSide, entry: str) -> list[Path]:
    """Rasters of a side, where the scenes of a split lie in `entry`."""
    pattern = entry if side.files is None else side.files.replace("{split}", entry)
    return find_files(root / pattern)


def list_scene_folders(config: DataConfig) -> list[str]:
    """Folders or globs of the scenes of all splits of pairs."""
    if config.splits is None:
        return []
    if isinstance(config.splits, FolderSplits):
        return [entry for entries in config.splits.folders.values() for entry in entries]
    return [config.splits.scenes]


def _make_regions(
    splits: PolygonSplits | BlockSplits | BoxSplits, root: Path, pairs: Sequence[ScenePair]
) -> Regions:
    if isinstance(splits, PolygonSplits):
        return polygon_regions(
            root / splits.polygons, attribute=splits.attribute, gap_m=splits.gap_m
        )
    if isinstance(splits, BoxSplits):
        return box_regions(splits.boxes, gap_m=splits.gap_m)
    return block_regions(
        [pair.grid.geobox for pair in pairs],
        block_m=splits.block_m,
        shares=splits.shares,
        seed=splits.seed,
        gap_m=splits.gap_m,
    )
