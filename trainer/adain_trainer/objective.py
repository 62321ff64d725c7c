"""The objective of a step: the losses of a part of its pairs, each weighted by its share of the whole step."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from adain_net.encoder import LAYERS, RELU4_1, Encoder, FeatureLayer
from adain_net.statistics import channel_statistics
from adain_net.transform import adain_transform
from adain_trainer.config import FitConfig
from adain_trainer.feature_bank import Batch
from adain_trainer.losses import (
    content_loss,
    grid_loss,
    identity_feature_loss,
    range_loss,
    style_loss,
    total_variation,
)
from adain_trainer.networks import AnyDecoder, layer_of
from adain_trainer.precision import Convolutions


@dataclass(frozen=True)
class Losses:
    """Scalars: the means over a step's pairs, or a part's contribution to them; 0 where a loss does not apply."""

    content: Tensor
    style: Tensor
    pixel: Tensor
    feature: Tensor
    variation: Tensor
    grid: Tensor
    range: Tensor

    def total(self, config: FitConfig) -> Tensor:
        """The sum that is minimised."""
        return (
            config.content_loss_weight * self.content
            + config.style_loss_weight * self.style
            + config.pixel_loss_weight * self.pixel
            + config.identity_feature_loss_weight * self.feature
            + config.variation_loss_weight * self.variation
            + config.grid_loss_weight * self.grid
            + config.range_loss_weight * self.range
        )

    def detached(self) -> Tensor:
        """All of them in one tensor, in the fields' order, detached from the graph."""
        return torch.stack([getattr(self, field.name) for field in fields(self)]).detach()


class Objective:
    """The losses of a configuration.

    The sum of part_losses() over all parts of a step is the mean over its pairs, whoever computes which part, so that
    one large batch, several smaller ones and several processes have the same gradient.
    """

    def __init__(self, encoder: Encoder, decoder: AnyDecoder, config: FitConfig) -> None:
        """Take the networks, on one device, the encoder without gradients; the precision must not be auto."""
        self._convolutions = Convolutions(encoder, config.precision)
        self._decoder = decoder
        self._config = config

    def part_losses(self, batch: Batch, step: int) -> Losses:
        """The losses of one part of a step; in the first steps, only the reconstruction error."""
        if step < self._config.reconstruction_steps:
            return self._reconstruction(batch)
        return self._stylization(batch)

    def _reconstruction(self, batch: Batch) -> Losses:
        zero = batch.pictures.new_zeros(())
        error = self._convolutions.decode(self._decoder, batch.content_feat) - batch.pictures
        pixel = error.square().flatten(1).mean(dim=1).sum() / batch.total
        return Losses(zero, zero, pixel, zero, zero, zero, zero)

    def _stylization(self, batch: Batch) -> Losses:
        """The paper's losses; identity pairs keep their own statistics and have the identity loss instead of style."""
        config, own = self._config, batch.identity
        painted = (~own).float() / max(batch.total - batch.total_identity, 1)
        kept = own.float() / max(batch.total_identity, 1)
        feat = batch.content_feat if batch.painted is None else batch.painted.feat
        guide = None if batch.painted is None else torch.cat([batch.painted.pictures, batch.pictures], dim=1)
        target_feat = _adain(batch, feat, layer_of(self._decoder))
        result = self._convolutions.decode(self._decoder, target_feat, guide)
        feats = self._convolutions.features(result)
        goal = batch.content_feat
        if config.content_target == "adain":
            goal = _adain(batch, batch.content_feat, RELU4_1)
        statistics = [channel_statistics(feat) for feat in feats]
        style = style_loss(statistics, batch.styles, kind=config.style_loss, layers=config.style_layer_weights)
        feature = result.new_zeros(())
        if config.identity_loss == "sanet" and bool(own.any()):
            with torch.no_grad():
                picture_feats = self._convolutions.features(batch.pictures[own])
            feature = (identity_feature_loss([feat[own] for feat in feats], picture_feats) * kept[own]).sum()
        return Losses(
            content=content_loss(feats.relu4_1, goal, kind=config.content_loss).sum() / batch.total,
            style=(style * painted).sum(),
            pixel=((result - batch.pictures).square().flatten(1).mean(dim=1) * kept).sum(),
            feature=feature,
            variation=(total_variation(result) * painted).sum(),
            grid=grid_loss(result).sum() / batch.total,
            range=range_loss(result).sum() / batch.total,
        )


def _adain(batch: Batch, feat: Tensor, layer: FeatureLayer) -> Tensor:
    """Features of a layer with the statistics of each pair's style; an identity pair's are unchanged."""
    transform = adain_transform(channel_statistics(feat), batch.styles[LAYERS.index(layer)])
    return torch.where(batch.identity[:, None, None, None], feat, transform.apply(feat))
