import numpy as np
import pytest

from wutdet.errors import DataError
from wutdet.report.objects import COLUMNS, check_objects, read_objects, write_objects


def table(**changes) -> dict[str, np.ndarray]:
    columns = {
        "kind": np.array(["hit", "miss", "false_alarm"]), "image": np.array([0, 0, 2]), "box": np.array([0, 1, -1]),
        "detection": np.array([4, -1, 7]), "score": np.array([0.5, np.nan, 0.875]), "iou": np.array([0.75, 0.0, 0.125]),
        "size_px": np.array([10.0, 7.5, 3.25]), "x1": np.array([1.0, 2.0, 3.0]), "y1": np.array([1.0, 2.0, 3.5]),
        "x2": np.array([11.0, 9.5, 6.25]), "y2": np.array([11.0, 9.5, 6.25]),
        "category": np.array(["ship", 'a "quoted", ship', "船"]),
    }  # fmt: skip
    return columns | changes


def test_a_table_survives_its_file(tmp_path):
    write_objects(tmp_path / "objects.csv", table())
    head, first, second, _ = (tmp_path / "objects.csv").read_text("utf-8").splitlines()
    assert head == "kind,image,box,detection,score,iou,size_px,x1,y1,x2,y2,category"
    assert first == "hit,0,0,4,0.5,0.75,10,1,1,11,11,ship"
    assert second == 'miss,0,1,-1,,0,7.5,2,2,9.5,9.5,"a ""quoted"", ship"'
    again = read_objects(tmp_path / "objects.csv")
    assert list(again) == list(COLUMNS)
    for name, values in table().items():
        assert again[name].tolist() == pytest.approx(values.tolist(), nan_ok=True) if name == "score" else True
        if name != "score":
            assert again[name].tolist() == values.tolist()


def test_an_empty_table_and_columns_of_others(tmp_path):
    write_objects(tmp_path / "objects.csv", {name: np.array([]) for name in COLUMNS})
    assert len(read_objects(tmp_path / "objects.csv")["kind"]) == 0
    text = "path," + ",".join(reversed(COLUMNS)) + "\nx.jpg,ship,4,3,2,1,5,0.5,0.25,-1,-1,6,miss\n"
    (tmp_path / "other.csv").write_text(text)
    found = read_objects(tmp_path / "other.csv")
    assert "path" not in found and found["image"].tolist() == [6] and found["x2"].tolist() == [3.0]


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


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind,image", "kind,picture", r"objects\.csv:1: the head line names no column image"),
        ("hit,0,0,4", "hit,0,0", r"objects\.csv:2: 12 fields were expected, received 11"),
        ("miss,0,1,-1,,0", "miss,0,1,-1,,zero", r"objects\.csv:3: 'iou' must be a number, received 'zero'"),
        ("miss,0,1,-1,,0", "miss,,1,-1,,0", r"objects\.csv:3: 'image' must be a number, received ''"),
    ],
)
def test_broken_files_are_named_with_their_line(tmp_path, old, new, message):
    file = tmp_path / "objects.csv"
    write_objects(file, table())
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(DataError, match=message):
        read_objects(file)


def test_a_file_that_is_no_text_or_not_there(tmp_path):
    (tmp_path / "objects.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        read_objects(tmp_path / "objects.csv")
    with pytest.raises(DataError, match="cannot read"):
        read_objects(tmp_path / "nothing.csv")
