"""JAX: gather, then a segment sum or maximum, compiled for each shape; its gradients."""

from functools import partial

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)


def forward(input, weight, offsets=None, mode="mean", per_sample_weights=None,
            include_last_offset=False):  # fmt: skip
    return bag(weight, per_sample_weights, input, offsets, mode, include_last_offset)


def backward(grad_output, input, weight, offsets=None, mode="mean", per_sample_weights=None,
             include_last_offset=False):  # fmt: skip
    return gradients(
        grad_output, weight, per_sample_weights, input, offsets, mode, include_last_offset
    )


@partial(jax.jit, static_argnames=("mode", "include_last_offset"))
def bag(weight, per_sample_weights, input, offsets, mode, include_last_offset):
    if input.ndim == 2:
        count, bag_of = len(input), jnp.repeat(jnp.arange(len(input)), input.shape[1])
    else:
        count = len(offsets) - include_last_offset
        bag_of = jnp.searchsorted(offsets[:count], jnp.arange(input.size), side="right") - 1
    rows = weight[input.ravel()]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.ravel()[:, None]
    if mode == "max":
        largest = jax.ops.segment_max(rows, bag_of, count)
        filled = jax.ops.segment_sum(jnp.ones_like(bag_of), bag_of, count) > 0
        return jnp.where(filled[:, None], largest, 0)
    total = jax.ops.segment_sum(rows, bag_of, count)
    if mode == "sum":
        return total
    lengths = jax.ops.segment_sum(jnp.ones_like(bag_of), bag_of, count)
    return total / jnp.maximum(lengths, 1)[:, None].astype(weight.dtype)


@partial(jax.jit, static_argnames=("mode", "include_last_offset"))
def gradients(grad_output, weight, per_sample_weights, input, offsets, mode, include_last_offset):
    def of(weight, per_sample_weights):
        return bag(weight, per_sample_weights, input, offsets, mode, include_last_offset)

    _, vjp = jax.vjp(of, weight, per_sample_weights)
    return vjp(grad_output)
