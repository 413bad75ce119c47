"""What of the scores, and of the differences between variants, is the seed's."""

from dataclasses import dataclass
from pathlib import Path

from stages.report.comparison import Block, Points, Standing, Table, percent, points
from thaw.errors import UserError
from thaw.formats.metrics import SeedScores, is_within, read_seed_scores
from thaw.scoring.significance import listed

SPLITS = ("validation", "test")
SCORES = ("accuracy", "log_loss")
NOTE = (
    "Ranks, and all other tables, go by each variant's own seed. A seeds' range is the greatest score less the least, "
    "all from the same start; of two variants the larger one counts, and a solved head has none. A difference within "
    "the range may be the seed's; with few seeds, the range is less than what seeds can make."
)


@dataclass(frozen=True)
class Trainings:
    """What is known of the variants' training noise."""

    seeds: dict[str, SeedScores]
    """By variant, of those that were trained with several seeds."""
    solved: set[str]
    """Variants without training noise."""


def read_seeds(path: Path, others: list[int]) -> SeedScores:
    """Return the scores of a variant's own seed and of the others that are wanted.

    Raises:
        UserError: the file is missing, damaged, or of other seeds.
    """
    found = read_seed_scores(path)
    for of_split in found.values():
        if len(of_split) != 1 + len({*others}) or not {*others} <= of_split.keys():
            raise UserError(f"{path}: of other seeds than params.yaml names; run `dvc repro`")
    return found


def over_seeds(trainings: Trainings, standing: Standing) -> list[Block]:
    """Return how scores vary with the seed, and which differences from the best variant are smaller than that.

    Args:
        trainings: if no variant was trained with several seeds, there is nothing to say.
        standing: the scores of the variants' own seeds.
    """
    if not trainings.seeds:
        return []
    header = ["variant", "seeds", *(f"{split} {_words(score)}" for split in SPLITS for score in SCORES)]
    rows = []
    for name in standing.order:
        if seeds := trainings.seeds.get(name):
            cells = (_mean_and_range(_values(seeds, split, score), score) for split in SPLITS for score in SCORES)
            rows.append([standing.marked(name), str(len(seeds["test"])), *cells])
    table = Table("With several seeds: the mean, and in brackets the least and the greatest", header, "lrrrrr", rows)
    first, *others = standing.order
    lines = [_against(first, name, trainings, standing) for name in others if {first, name} & {*trainings.seeds}]
    if lines:
        return [table, f"Differences from {standing.marked(first)}:", Points(lines), NOTE]
    return [table, NOTE]


def _against(first: str, name: str, trainings: Trainings, standing: Standing) -> str:
    """Say which differences of a variant from the first one are within the seeds' range, and which are not."""
    pair, within, beyond = (first, name), list[str](), list[str]()
    for split in SPLITS:
        scores = standing.validation if split == "validation" else standing.test
        for score in SCORES if scores.keys() >= {*pair} else ():
            change = getattr(scores[name], score) - getattr(scores[first], score)
            known = [_values(trainings.seeds[one], split, score) for one in pair if one in trainings.seeds]
            most = max(max(values) - min(values) for values in known)
            told = f"{split} {_words(score)} {_change(change, score)} (range {_size(most, score)})"
            (within if is_within(change, most) else beyond).append(told)
    words = [f"{listed(within)} within the seeds' range"] if within else []
    words += [f"{listed(beyond)} beyond the seeds' range"] if beyond else []
    words += [
        f"{one} was trained with one seed" for one in pair if one not in trainings.seeds.keys() | trainings.solved
    ]
    return f"{standing.marked(name)}: {'; '.join(words)}."


def _values(seeds: SeedScores, split: str, score: str) -> list[float]:
    return [of_seed[score] for of_seed in seeds.get(split, {}).values()]


def _words(score: str) -> str:
    return score.replace("_", " ")


def _mean_and_range(values: list[float], score: str) -> str:
    if not values:
        return "–"
    mean, least, most = (
        percent(value) if score == "accuracy" else f"{value:.3f}"
        for value in (sum(values) / len(values), min(values), max(values))
    )
    return f"{mean} ({least} – {most})"


def _change(change: float, score: str) -> str:
    return points(change) if score == "accuracy" else f"{change:+.3f}"


def _size(size: float, score: str) -> str:
    return percent(size).removesuffix("%") if score == "accuracy" else f"{size:.3f}"
