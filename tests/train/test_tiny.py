"""Losses for tiny ships: the formula against NumPy, nothing changes where all is off, and what each switch does."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest
import torch

from wutdet.config import TinyConfig
from wutdet.dataset.load import load_dataset
from wutdet.runtime.offline import import_ultralytics
from wutdet.train.architecture import build
from wutdet.train.tiny import (
    DEFAULT_SCALE_PX,
    ShipDetectionLoss,
    detection_loss,
    scale_from,
    smallness,
    wasserstein_similarity,
)

import_ultralytics()
from ultralytics.cfg import get_cfg  # noqa: E402

ALL_ON = TinyConfig(nwd=0.5, assign="nwd", weight=1.0)


def similarity_oracle(a: np.ndarray, b: np.ndarray, scale_px: float) -> np.ndarray:
    """exp(-W2 / C) from the general Wasserstein distance of Gaussians: W2^2 = |m - n|^2 + tr(S + T - 2 (S T)^(1/2))."""
    out = []
    for one, other in zip(a, b, strict=True):
        means = [(box[:2] + box[2:]) / 2 for box in (one, other)]
        variances = [np.diag(((box[2:] - box[:2]) / 2) ** 2) for box in (one, other)]
        root = np.sqrt(variances[0] @ variances[1])  # diagonal, so elementwise
        squared = ((means[0] - means[1]) ** 2).sum() + np.trace(variances[0] + variances[1] - 2 * root)
        out.append(math.exp(-math.sqrt(max(squared, 0)) / scale_px))
    return np.array(out)


def random_boxes(rng, count: int, largest: float = 40.0) -> np.ndarray:
    corner = rng.uniform(0, 100, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(1, largest, (count, 2))], axis=1)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = build("yolo26n", None, ["ship"])
    made.args = get_cfg()
    return made


@pytest.fixture(scope="module")
def batch():
    """Two pictures of 128 pixels: tiny, small and large ships in the first, none in the second."""
    boxes = torch.tensor([[0.3, 0.3, 0.05, 0.04], [0.7, 0.31, 0.1, 0.06], [0.5, 0.7, 0.6, 0.4], [0.9, 0.3, 0.02, 0.02]])
    return {
        "img": torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(1)),
        "cls": torch.zeros(4, 1),
        "bboxes": boxes,
        "batch_idx": torch.zeros(4),
    }


def loss_and_gradients(model, criterion, batch):
    model.zero_grad()
    loss, items = criterion(model(batch["img"]), batch)
    loss.sum().backward()
    return loss.detach(), items, [p.grad.clone() for p in model.parameters() if p.grad is not None]


def test_similarity_is_the_papers(rng):
    a, b = random_boxes(rng, 200), random_boxes(rng, 200)
    for scale_px in (4.0, 12.8):
        ours = wasserstein_similarity(torch.tensor(a), torch.tensor(b), scale_px).numpy()
        np.testing.assert_allclose(ours, similarity_oracle(a, b, scale_px), rtol=2e-4)
    same = torch.tensor(a, dtype=torch.float32)
    np.testing.assert_allclose(wasserstein_similarity(same, same, 12.8).numpy(), 1, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_the_similarity_are_finite_everywhere(dtype):
    boxes = torch.tensor([[5, 5, 9, 9], [5, 5, 9, 9], [5, 5, 5, 5], [0, 0, 1e4, 1e4], [7, 7, 3, 3.0]], dtype=dtype)
    others = torch.tensor([[5, 5, 9, 9], [6, 5, 9, 9], [5, 5, 5, 5], [1, 1, 2, 2], [5, 5, 9, 9.0]], dtype=dtype)
    boxes.requires_grad_(True)
    wasserstein_similarity(boxes, others, 8.0).sum().backward()
    assert torch.isfinite(boxes.grad).all()
    assert (boxes.grad[1].abs() > 0).any()


def test_smallness_fades_out():
    sides = torch.tensor([1.0, 16.0, 24.0, 32.0, 300.0])
    boxes = torch.stack([torch.zeros(5), torch.zeros(5), sides, sides], dim=1)
    np.testing.assert_allclose(smallness(boxes, 16.0).numpy(), [1, 1, 0.5, 0, 0], atol=1e-6)


@pytest.mark.parametrize("name", ["yolo26n", "yolo11n"])
def test_with_all_switches_off_the_loss_is_ultralytics(name, batch):
    torch.manual_seed(3)
    made = build(name, None, ["ship"])
    made.args = get_cfg()
    ours = loss_and_gradients(made, detection_loss(made, TinyConfig()), batch)
    theirs = loss_and_gradients(made, made.init_criterion(), batch)
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=0)
    assert {k: float(v) for k, v in ours[1].items()} == {k: float(v) for k, v in theirs[1].items()}
    for one, other in zip(ours[2], theirs[2], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    "tiny", [TinyConfig(nwd=1.0), TinyConfig(assign="nwd"), TinyConfig(weight=2.0), ALL_ON], ids=str
)
@pytest.mark.parametrize("half", [False, True])
def test_each_switch_changes_the_loss_and_leaves_it_finite(model, batch, tiny, half):
    plain = detection_loss(model, TinyConfig())
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        loss, _, gradients = loss_and_gradients(model, detection_loss(model, tiny, 8.0), batch)
        before, _, _ = loss_and_gradients(model, plain, batch)
    assert torch.isfinite(loss).all() and not torch.equal(loss, before)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    if tiny.assign == "iou" and not tiny.weight:
        torch.testing.assert_close(loss[1:], before[1:], rtol=0, atol=0)  # only the box loss is another


def test_pictures_without_ships_have_a_loss_too(model, batch):
    empty = {**batch, "cls": torch.zeros(0, 1), "bboxes": torch.zeros(0, 4), "batch_idx": torch.zeros(0)}
    ours, _, gradients = loss_and_gradients(model, detection_loss(model, ALL_ON), empty)
    theirs, _, _ = loss_and_gradients(model, model.init_criterion(), empty)
    torch.testing.assert_close(ours, theirs)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_large_ships_do_not_notice(model, batch):
    large = {**batch, "cls": torch.zeros(1, 1), "bboxes": torch.tensor([[0.5, 0.5, 0.6, 0.5]]),
             "batch_idx": torch.zeros(1)}  # fmt: skip
    ours, _, _ = loss_and_gradients(model, detection_loss(model, ALL_ON), large)
    theirs, _, _ = loss_and_gradients(model, model.init_criterion(), large)
    torch.testing.assert_close(ours, theirs)


def test_the_box_loss_of_tiny_ships_is_the_share_of_the_similarity():
    """One anchor point per ship, all tiny: with a share of 1 the loss is the weighted mean of 1 - similarity."""
    from ultralytics.utils.loss import BboxLoss

    from wutdet.train.tiny import TinyBoxLoss

    rng = np.random.default_rng(5)
    target, stride = random_boxes(rng, 6, largest=12.0), np.full((6, 1), 8.0)
    target[:, 2:] += 3  # noise must not turn a box inside out
    predicted = target + rng.normal(0, 1.0, target.shape).clip(-1.5, 1.5)
    scores = rng.uniform(0.2, 1, (1, 6, 1))
    small = np.clip(2 - np.sqrt(np.prod(target[:, 2:] - target[:, :2], axis=1)) / 16, 0, 1)
    assert (small == 1).all()

    def loss(tiny):
        tensors = [torch.tensor(v, dtype=torch.float32) for v in
                   (np.zeros((1, 6, 4)), predicted[None] / 8, np.zeros((6, 2)), target[None] / 8, scores)]  # fmt: skip
        sum_and_rest = (tensors[-1].sum(), torch.ones(1, 6, dtype=torch.bool), torch.tensor([128.0, 128.0]),
                        torch.tensor(stride, dtype=torch.float32))  # fmt: skip
        return TinyBoxLoss(BboxLoss(1), tiny, 10.0)(*tensors, *sum_and_rest)

    similarity = similarity_oracle(predicted, target, 10.0)
    expected = ((1 - similarity) * scores[0, :, 0]).sum() / scores.sum()
    whole, ciou = float(loss(TinyConfig(nwd=1.0))[0]), float(loss(TinyConfig())[0])
    assert whole == pytest.approx(expected, rel=1e-3)
    assert float(loss(TinyConfig(nwd=0.25))[0]) == pytest.approx(0.25 * whole + 0.75 * ciou, rel=1e-5)
    assert float(loss(TinyConfig(weight=3.0))[0]) == pytest.approx(ciou, rel=1e-5)  # all weighted alike: no change


def test_tiny_ships_that_no_prediction_touches_are_assigned_by_distance(model):
    """Predictions beside a ship of 6 pixels: CIoU makes the target scores zero, Wasserstein similarity does not."""
    tiny = ShipDetectionLoss(model, tiny=TinyConfig(assign="nwd"), scale_px=8.0).assigner
    plain = ShipDetectionLoss(model, tiny=TinyConfig(), scale_px=8.0).assigner
    y, x = torch.meshgrid(torch.arange(4.0, 64, 8), torch.arange(4.0, 64, 8), indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], dim=1)
    predicted = torch.cat([points, points + 4], dim=1)[None]
    ship = torch.tensor([[[25.0, 25.0, 31.0, 31.0]]])
    arguments = (torch.full((1, 64, 1), 0.5), predicted - 12, points, torch.zeros(1, 1, 1), ship, torch.ones(1, 1, 1))
    assert float(plain(*arguments)[2].max()) == 0
    _, _, scores, positive, _ = tiny(*arguments)
    assert 0.05 < float(scores.max()) < 1
    best = int(scores[0, :, 0].argmax())
    similarity = similarity_oracle((predicted - 12)[0].numpy(), np.repeat(ship[0].numpy(), 64, axis=0), 8.0)
    inside = positive[0].numpy()
    assert best == int(np.where(inside, similarity, 0).argmax())
    assert float(scores[0, best, 0]) == pytest.approx(similarity[best], rel=1e-3)


def test_weights_shift_the_loss_towards_tiny_ships(model, batch):
    """The score gradient of anchor points of a tiny ship grows by 1 + weight, that of a large ship stays."""
    loss = ShipDetectionLoss(model, tiny=TinyConfig(weight=2.0), scale_px=8.0)
    loss.assigner.anchor_weight = torch.tensor([[[3.0], [1.0]]])
    scores = torch.zeros(1, 2, 1, requires_grad=True)
    loss.bce(scores, torch.ones(1, 2, 1)).sum().backward()
    assert scores.grad.flatten().tolist() == [-1.5, -0.5]
    ships = torch.tensor([[[10.0, 10, 16, 16], [0.0, 0, 100, 80]]])
    y, x = torch.meshgrid(torch.arange(4.0, 128, 8), torch.arange(4.0, 128, 8), indexing="ij")
    points = torch.stack([x.flatten(), y.flatten()], dim=1)
    predicted = torch.cat([points - 8, points + 8], dim=1)[None]
    _, target, _, positive, _ = loss.assigner(
        torch.full((1, 256, 1), 0.5), predicted, points, torch.zeros(1, 2, 1), ships, torch.ones(1, 2, 1)
    )
    weight = loss.assigner.anchor_weight[0, :, 0]
    tiny = positive[0] & (target[0, :, 2] == 16)
    assert tiny.any() and (weight[tiny] == 3).all() and (weight[~tiny] == 1).all()


def test_bfloat16_does_not_move_anchor_points(model):
    """ultralytics takes the dtype of the features for anchor points; beyond 128 strides bfloat16 has no halves."""
    criterion = detection_loss(model, TinyConfig()).one2many
    seen = {}
    inner = criterion.assigner.forward

    def note(scores, boxes, points, *rest):
        seen["points"] = points
        return inner(scores, boxes, points, *rest)

    criterion.assigner.forward = note
    picture = torch.zeros(1, 3, 32, 1152)
    wide = {"img": picture, "cls": torch.zeros(1, 1), "bboxes": torch.tensor([[0.99, 0.5, 0.01, 0.2]]),
            "batch_idx": torch.zeros(1)}  # fmt: skip
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        criterion(model(picture)["one2many"], wide)
    columns = seen["points"][: 4 * 144, 0].unique()
    np.testing.assert_array_equal(columns.numpy(), np.arange(4, 1152, 8))


def test_c_is_the_mean_size_of_tiny_ships(sea):
    dataset = load_dataset(str(sea))
    kept = ~dataset.ignore
    sides = (dataset.xyxy[kept][:, 2:] - dataset.xyxy[kept][:, :2]) * 80 / 160
    sizes = np.sqrt(sides.prod(axis=1))
    assert (sizes < 2 * 8).sum() and (sizes >= 2 * 8).sum(), "the data should have both"
    assert scale_from(dataset, 80, None, 8.0) == pytest.approx(sizes[sizes < 16].mean())
    assert scale_from(dataset, 80, None, 0.5) == DEFAULT_SCALE_PX
    assert scale_from(dataset, 1600, 0.5, 8.0) == pytest.approx(scale_from(dataset, 80, None, 8.0))


def test_a_copy_of_the_model_needs_no_criterion(model):
    """Checkpoints copy the model; the loss must not be needed for that."""
    model.criterion = detection_loss(model, ALL_ON)
    try:
        from wutdet.train.checkpoint import compact

        assert getattr(compact(model), "criterion", None) is None
        deepcopy(model)
    finally:
        model.criterion = None
