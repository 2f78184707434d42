import numpy as np
import pytest

from wutdet.errors import DataError
from wutdet.report.objects import COLUMNS, check_objects


def table(**changes) -> dict[str, np.ndarray]:
    columns = {
        "kind": np.array(["hit", "miss", "false_alarm"]), "image": np.array([0, 0, 2]), "box": np.array([0, 1, -1]),
        "detection": np.array([4, -1, 7]), "score": np.array([0.5, np.nan, 0.875]), "iou": np.array([0.75, 0.0, 0.125]),
        "size_px": np.array([10.0, 7.5, 3.25]), "x1": np.array([1.0, 2.0, 3.0]), "y1": np.array([1.0, 2.0, 3.5]),
        "x2": np.array([11.0, 9.5, 6.25]), "y2": np.array([11.0, 9.5, 6.25]),
        "category": np.array(["ship", 'a "quoted", ship', "船"]),
    }  # fmt: skip
    return columns | changes


def test_columns_get_their_types_and_others_are_left_out():
    texts = {name: np.array([str(v) for v in values], dtype=object) for name, values in table().items()}
    found = check_objects({"file_name": np.array(["a", "b", "c"]), **texts}, 3)
    assert list(found) == list(COLUMNS)
    for name, values in table().items():
        assert np.array_equal(found[name], values, equal_nan=name == "score") and found[name].dtype.kind in "Uif"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": np.array([0, 3, 2])}, r"row 1: there is no frame 3; the data set has 3"),
        ({"image": np.array([-1, 0, 2])}, r"row 0: there is no frame -1"),
        ({"kind": np.array(["hit", "hits", "miss"])}, r"row 1: kind 'hits' is none of hit, miss"),
        ({"iou": np.array([0.5])}, r"column 'iou' has 1 rows, 'kind' has 3"),
        ({"y2": np.array([1, np.inf, 2])}, r"row 1: the box \[2.0, 2.0, 9.5, inf\] is not all numbers"),
        ({"score": np.array(["a", "b", "c"])}, r"column 'score' holds something that is no float"),
    ],
)
def test_tables_that_cannot_be_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        check_objects(table(**changes), 3)
    with pytest.raises(DataError, match="no column box, category"):
        check_objects({name: values for name, values in table().items() if name not in ("box", "category")})
