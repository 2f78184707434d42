"""Losses and assignment for tiny ships, put into ultralytics' detection loss through its exchangeable parts.

With every switch of ``TinyConfig`` off, the loss is ultralytics' own, bit for bit, computed in float32.

What ultralytics 8.4 does by itself: its task-aligned assigner offers a ship the anchor points inside its box, and
enlarges sides below the second stride (16 pixels, with a P2 head 8) to it first, so that a tiny ship always has a few.
Which of them are taken, and the score that they are to reach, still follows from CIoU, which is zero for a box of eight
pixels that is eight pixels off, and falls by a third for one pixel.

The remedy here is the normalised Gaussian Wasserstein distance (Wang et al., arXiv 2110.13389): a box is the Gaussian
N(centre, diag(w^2 / 4, h^2 / 4)), the distance of two has a closed form, and exp(-distance / C) is a similarity that
falls with pixels, not with shares of the box. It makes no sense for large ships, so everything here fades out with the
size of the ship (see ``smallness``); the paper, on data of tiny objects alone, has no need of that.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import nn

from wutdet.config import TinyConfig
from wutdet.dataset.dataset import Dataset
from wutdet.runtime.offline import import_ultralytics
from wutdet.train.views import frame_scale

import_ultralytics()
from ultralytics.utils.loss import BboxLoss, E2ELoss, v8DetectionLoss  # noqa: E402  (the environment comes first)
from ultralytics.utils.metrics import bbox_iou  # noqa: E402
from ultralytics.utils.tal import TaskAlignedAssigner  # noqa: E402

#: C in pixels where the data have no tiny ship: the mean size of the objects of AI-TOD, as in the paper.
DEFAULT_SCALE_PX = 12.8


def smallness(xyxy_px: torch.Tensor, below_px: float) -> torch.Tensor:
    """float32 [...]: 1 for boxes [..., 4] of sqrt(area) up to ``below_px``, 0 from twice that on, linear between."""
    size = (xyxy_px[..., 2:] - xyxy_px[..., :2]).float().clamp(min=0).prod(-1).sqrt()
    return (2 - size / below_px).clamp(0, 1)


def wasserstein_similarity(first_xyxy: torch.Tensor, second_xyxy: torch.Tensor, scale_px: float) -> torch.Tensor:
    """float32 [...] in (0, 1]: exp(-W2 / C) of the Gaussians of boxes [..., 4] in pixels; finite gradients everywhere.

    Args:
        first_xyxy: boxes in pixels.
        second_xyxy: boxes in pixels, of the same shape.
        scale_px: C.
    """
    first, second = first_xyxy.float(), second_xyxy.float()
    low, high = first[..., :2] - second[..., :2], first[..., 2:] - second[..., 2:]
    # Centres differ by (low + high) / 2, half sides by (high - low) / 2.
    squared = (((low + high) / 2) ** 2 + ((high - low) / 2) ** 2).sum(-1)
    return torch.exp(-torch.sqrt(squared + 1e-7) / scale_px)  # the root alone has no gradient at equal boxes


def scale_from(dataset: Dataset, long_side: int, max_scale: float | None, below_px: float) -> float:
    """C in pixels for a data set: mean sqrt(area) of its tiny ships; DEFAULT_SCALE_PX where there are none.

    Args:
        dataset: frames to train on.
        long_side: to which frames are scaled, in pixels.
        max_scale: they are enlarged at most so many times.
        below_px: as TinyConfig.below.
    """
    kept = ~np.asarray(dataset.ignore)
    xyxy = np.asarray(dataset.xyxy)[kept]
    scale = frame_scale(dataset.size_wh, long_side, max_scale)[np.asarray(dataset.box_image)[kept]]
    size = np.sqrt(np.prod(np.maximum(xyxy[:, 2:] - xyxy[:, :2], 0), axis=1)) * scale
    tiny = size[(size > 0) & (size < 2 * below_px)]
    return float(tiny.mean()) if len(tiny) else DEFAULT_SCALE_PX


class TinyAssigner(TaskAlignedAssigner):
    """The task-aligned assigner with Wasserstein similarity in place of CIoU for tiny ships.

    Where ships are weighted, it also notes the weight of each anchor point for the score loss, which is asked for right
    after the assignment and is not told what an anchor point was assigned to.
    """

    def __init__(self, plain: TaskAlignedAssigner, tiny: TinyConfig, scale_px: float):
        super().__init__(
            topk=plain.topk,
            num_classes=plain.num_classes,
            alpha=plain.alpha,
            beta=plain.beta,
            stride=plain.stride,
            eps=plain.eps,
            topk2=plain.topk2,
        )
        self.tiny, self.scale_px = tiny, scale_px
        self.anchor_weight: torch.Tensor | float = 1.0

    def forward(self, *arguments, **named):
        assigned = super().forward(*arguments, **named)
        _, target_xyxy, _, positive, _ = assigned
        if self.tiny.weight:
            self.anchor_weight = (1 + self.tiny.weight * smallness(target_xyxy, self.tiny.below) * positive)[..., None]
        return assigned

    def iou_calculation(self, gt_bboxes, pd_bboxes):
        overlap = super().iou_calculation(gt_bboxes, pd_bboxes)
        if self.tiny.assign != "nwd":
            return overlap
        share = smallness(gt_bboxes, self.tiny.below)
        similarity = wasserstein_similarity(gt_bboxes, pd_bboxes, self.scale_px)
        return (overlap + share * (similarity - overlap)).to(overlap.dtype)


class _WeightedScores(nn.Module):
    """A score loss [B, A, classes] times the weights that the assigner noted."""

    def __init__(self, plain: nn.Module, assigner: TinyAssigner):
        super().__init__()
        self.plain, self.assigner = plain, assigner

    def forward(self, predicted, target):
        return self.plain(predicted, target) * self.assigner.anchor_weight


class TinyBoxLoss(BboxLoss):
    """ultralytics' box losses with tiny ships weighted and a share of their CIoU loss moved to 1 - similarity.

    Weighted losses are divided by the weighted sum of target scores: ships count more beside others, the box loss as a
    whole does not grow.
    """

    def __init__(self, plain: BboxLoss, tiny: TinyConfig, scale_px: float):
        super().__init__(1)
        self.dfl_loss, self.tiny, self.scale_px = plain.dfl_loss, tiny, scale_px

    def forward(
        self, pred_dist, pred_bboxes, anchor_points, target_bboxes, target_scores, target_scores_sum, fg_mask, imgsz,
        stride,
    ):  # fmt: skip
        small = smallness(target_bboxes * stride, self.tiny.below)
        if self.tiny.weight:
            target_scores = target_scores * (1 + self.tiny.weight * small)[..., None]
            target_scores_sum = target_scores.sum().clamp(min=1)
        loss_iou, loss_distance = super().forward(
            pred_dist, pred_bboxes, anchor_points, target_bboxes, target_scores, target_scores_sum, fg_mask, imgsz,
            stride,
        )  # fmt: skip
        if not self.tiny.nwd:
            return loss_iou, loss_distance
        _, anchor = positive = fg_mask.nonzero(as_tuple=True)
        predicted, target = pred_bboxes[positive], target_bboxes[positive]
        iou = bbox_iou(predicted, target, xywh=False, CIoU=True).squeeze(-1)
        similarity = wasserstein_similarity(predicted * stride[anchor], target * stride[anchor], self.scale_px)
        weight = target_scores[positive].sum(-1) * small[positive]
        return loss_iou + (self.tiny.nwd * (iou - similarity) * weight).sum() / target_scores_sum, loss_distance


class ShipDetectionLoss(v8DetectionLoss):
    """ultralytics' detection loss in float32, with the parts of TinyConfig that are switched on.

    Args:
        model: an ultralytics detection model with ``args``.
        tal_topk, tal_topk2: as there.
        tiny: the switches.
        scale_px: C of the Wasserstein similarity.
    """

    def __init__(
        self,
        model: nn.Module,
        tal_topk: int = 10,
        tal_topk2: int | None = None,
        *,
        tiny: TinyConfig,
        scale_px: float,
    ):
        super().__init__(model, tal_topk=tal_topk, tal_topk2=tal_topk2)
        if tiny.weight or tiny.assign == "nwd":
            self.assigner = TinyAssigner(self.assigner, tiny, scale_px)
        if tiny.weight:
            self.bce = _WeightedScores(self.bce, self.assigner)
        if tiny.weight or tiny.nwd:
            self.bbox_loss = TinyBoxLoss(self.bbox_loss, tiny, scale_px)

    def loss(self, preds, batch):
        # In bfloat16, coordinates beyond 128 strides are whole numbers: anchor points would be half a stride off, and
        # boxes would be told apart by 2 pixels and more.
        with torch.autocast(self.device.type, enabled=False):
            floats = {name: value.float() for name, value in preds.items() if isinstance(value, torch.Tensor)}
            # Of the features only size and dtype are asked for; no float32 copy is made.
            shapes = [feature.new_empty((), dtype=torch.float32).expand(feature.shape) for feature in preds["feats"]]
            return super().loss({**preds, **floats, "feats": shapes}, batch)


def detection_loss(model: nn.Module, tiny: TinyConfig, scale_px: float = DEFAULT_SCALE_PX):
    """The training loss of a detection model: for both branches where its head is an end-to-end one.

    Args:
        model: an ultralytics DetectionModel with ``args``.
        tiny: switches; all off gives ultralytics' loss.
        scale_px: C of the Wasserstein similarity in pixels of the training picture.
    """
    make = partial(ShipDetectionLoss, tiny=tiny, scale_px=scale_px)
    return E2ELoss(model, make) if getattr(model.model[-1], "one2one_cv2", None) is not None else make(model)
