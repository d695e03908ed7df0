"""`generate` and `stream_tokens`: Hugging Face's own tokens, step by step, and changes that reach every step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import oracle
import pytest
import torch
import zoo
from architectures import REFUSED
from torch.testing import assert_close

from tlab import Result
from tlab.engine import Edit, Inputs, run
from tlab.engine.decoding import Decoding, stop_ids
from tlab.errors import UnknownOption, UnusablePrompt
from tlab.experiments.continuation import Sampling
from tlab.experiments.generate import Generation, generate, stream_tokens
from tlab.experiments.prompts import inputs_of
from tlab.experiments.replacement import ablations, replacements
from tlab.targets import parse_targets
from tlab.views import generation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor
    from transformers import PreTrainedModel

    from tlab import Model

_PROMPT = "The cat sat on"
_N_NEW = 8
# Positions of every kind, windows, caches that are shared, latent or left out, and two stacks.
_KINDS = (
    "gpt2", "gpt-neo", "bloom", "mpt", "opt", "gpt-j", "codegen", "gpt-neox", "falcon", "llama-grouped", "mistral",
    "gemma-2", "gemma-3", "olmo-2", "smollm3", "gpt-oss", "deepseek-v3", "mixtral", "t5", "umt5", "bart", "m2m-100",
)  # fmt: skip
_PUSHED = ("gpt2", "llama-grouped", "gpt-neox", "phi", "qwen2-sliding", "starcoder2", "bloom", "opt")


def _theirs(hf: PreTrainedModel, inputs: Inputs, **options: Any) -> list[int]:  # noqa: ANN401  passed on
    """Return Hugging Face's own continuation, nothing forced or penalised."""
    given = inputs.ids if inputs.source is None else inputs.source
    mask = torch.ones_like(given)
    found = hf.generate(
        given, attention_mask=mask, num_beams=1, forced_eos_token_id=None, max_new_tokens=_N_NEW, **options
    )
    return [int(token) for token in found[0, inputs.ids.shape[1] :]]


def _steps_by_hand(inputs: Inputs, logits: Callable[[Tensor], Tensor]) -> list[int]:
    """Take the likeliest token again and again, computing everything anew each time."""
    ids = inputs.ids
    for _ in range(_N_NEW):
        ids = torch.cat([ids, logits(ids)[:, -1].argmax(-1, keepdim=True)], dim=1)
    return [int(token) for token in ids[0, inputs.ids.shape[1] :]]


def _cut(ids: list[int], model: Model) -> list[int]:
    ends = [step for step, token in enumerate(ids) if token in stop_ids(model)]
    return ids[: ends[0] + 1] if ends else ids


@pytest.mark.parametrize("name", _KINDS)
def test_greedily_it_writes_what_hugging_face_writes(
    name: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model = dissected(name)
    found = generate(model, _PROMPT, max_new_tokens=_N_NEW)
    assert list(found.ids) == _theirs(untouched(name), inputs_of(model, _PROMPT), do_sample=False)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1.0},
        {"temperature": 0.7, "top_k": 20},
        {"temperature": 1.5, "top_p": 0.8},
        {"temperature": 1.2, "top_k": 30, "top_p": 0.6},
    ],
)
@pytest.mark.parametrize("seed", [0, 7])
def test_drawn_tokens_are_those_that_hugging_face_draws(
    options: dict[str, Any], seed: int, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model = dissected("llama-grouped")
    found = generate(model, _PROMPT, max_new_tokens=_N_NEW, seed=seed, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        theirs = {"top_k": 0, "top_p": 1.0, **options}
        expected = _theirs(untouched("llama-grouped"), inputs_of(model, _PROMPT), do_sample=True, **theirs)
    assert list(found.ids) == expected


@pytest.mark.parametrize("name", [name for name in zoo.SPECIMENS if name not in REFUSED])
def test_kept_keys_and_values_give_what_computing_everything_gives(name: str, dissected: Callable[..., Model]) -> None:
    model = dissected(name)
    if model.family == "encoder":
        with pytest.raises(UnusablePrompt, match="predicts the next token, got the encoder"):
            generate(model, _PROMPT)
        return
    inputs = inputs_of(model, _PROMPT)
    kept, ids = Decoding(model, inputs), inputs.ids
    for step in range(4):
        logits = kept.next_logits(ids)
        whole = run(model, Inputs(ids, source=inputs.source)).logits[:, -1]
        assert_close(logits, whole, rtol=1e-5, atol=2e-5)
        # Two tokens at once now and then.
        ids = torch.cat([ids, torch.tensor([[65 + step, 66]])[:, : 1 + step % 2]], dim=1)


def test_a_later_step_computes_one_position(llama: Model) -> None:
    seen: list[int] = []

    def look(start: int, stop: int) -> list[Edit]:
        def note(stream: Tensor) -> Tensor:
            seen.append(stream.shape[1])
            return stream

        assert stop - start == (1 if seen else len(_PROMPT))
        return [Edit("blocks.1.resid_post", note)]

    decoding, ids = Decoding(llama, inputs_of(llama, _PROMPT), look), llama.to_ids(_PROMPT)[None]
    for _ in range(3):
        ids = torch.cat([ids, decoding.next_logits(ids).argmax(-1, keepdim=True)], dim=1)
    assert seen == [len(_PROMPT), 1, 1]


@pytest.mark.parametrize("name", _PUSHED)
def test_a_vector_is_added_at_every_step_as_by_plain_hooks(
    name: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(name), untouched(name)
    vector = 2.0 * torch.randn(model.d_model, generator=torch.Generator().manual_seed(3))
    # What a block's MLP writes joins the stream behind the block, alone or beside the attention.
    expected = _steps_by_hand(
        inputs_of(model, _PROMPT),
        lambda ids: oracle.replaced(hf, name, ids, layer=1, part="mlp", by=lambda written: written + 0.5 * vector),
    )
    found = generate(model, _PROMPT, max_new_tokens=_N_NEW, vector=vector, layer=1, coef=0.5)
    assert list(found.ids) == _cut(expected, model)
    assert found.changed
    assert found.plain == generate(model, _PROMPT, max_new_tokens=_N_NEW).continuation


@pytest.mark.parametrize("name", ["gpt2", "llama-grouped", "gemma-2", "falcon", "t5"])
def test_a_head_is_ablated_at_every_step_as_by_plain_hooks(
    name: str, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model, hf = dissected(name), untouched(name)
    inputs = inputs_of(model, _PROMPT)

    def without_head(ids: Tensor) -> Tensor:
        if inputs.source is None:
            return oracle.ablate_head(hf, name, ids, layer=1, head=2)
        return oracle.ablate_head(hf, name, inputs.source, layer=1, head=2, decoder_ids=ids)

    found = generate(model, _PROMPT, max_new_tokens=_N_NEW, ablate="L1H2")
    assert list(found.ids) == _cut(_steps_by_hand(inputs, without_head), model)


@pytest.mark.parametrize("method", ["mean", "resample"])
def test_later_positions_get_the_replacements_that_a_whole_run_gives_them(llama: Model, method: str) -> None:
    reference, n_prompt = ("one two three", "four five six"), len(_PROMPT)
    targets = parse_targets(["L1H2", "L2.mlp"], llama.n_layers, llama.n_heads)
    sites = tuple(site for target in targets for site in target.sites)

    def whole(ids: Tensor) -> Tensor:
        values = replacements(llama, sites, n_prompt + _N_NEW, method=method, reference=reference, seed=4)
        edits = ablations(targets, {site: value[: ids.shape[1]] for site, value in values.items()})
        return run(llama, ids, edits=edits).logits

    found = generate(
        llama, _PROMPT, max_new_tokens=_N_NEW, ablate=["L1H2", "L2.mlp"], method=method, reference=reference, seed=4
    )
    assert list(found.ids) == _cut(_steps_by_hand(Inputs(llama.to_ids(_PROMPT)[None]), whole), llama)


@pytest.mark.parametrize(
    ("positions", "touched"),
    [
        ("all", range),
        ("prompt", lambda _: range(len(_PROMPT))),
        ("last", lambda _: [len(_PROMPT) - 1]),
        ("continuation", lambda n: range(len(_PROMPT) - 1, n)),
        ([0, -2], lambda _: [0, len(_PROMPT) - 2]),
    ],
)
def test_a_vector_is_added_where_it_was_asked_for(
    llama: Model, positions: str | list[int], touched: Callable[[int], Sequence[int]]
) -> None:
    vector = 3.0 * torch.randn(llama.d_model, generator=torch.Generator().manual_seed(1))

    def by_hand(ids: Tensor) -> Tensor:
        def push(stream: Tensor) -> Tensor:
            stream[:, list(touched(stream.shape[1]))] += vector
            return stream

        return run(llama, ids, edits=[Edit("blocks.0.resid_post", push)]).logits

    expected = _steps_by_hand(Inputs(llama.to_ids(_PROMPT)[None]), by_hand)
    found = generate(llama, _PROMPT, max_new_tokens=_N_NEW, vector=vector, layer=0, positions=positions)
    assert list(found.ids) == _cut(expected, llama)


@pytest.mark.parametrize("site", ["blocks.1.attn.v", "blocks.0.attn.rot_k", "blocks.1.resid_pre", "ln_final.out"])
@pytest.mark.parametrize("positions", [None, (1, 3)])
def test_own_edits_act_on_the_whole_text_at_every_step(
    llama: Model, site: str, positions: tuple[int, ...] | None
) -> None:
    # It mixes positions, so that a piece of the text alone would give something else.
    edit = Edit(site, lambda tensor: tensor.flip(1) * 1.5, positions=positions)
    expected = _steps_by_hand(Inputs(llama.to_ids(_PROMPT)[None]), lambda ids: run(llama, ids, edits=[edit]).logits)
    found = generate(llama, _PROMPT, max_new_tokens=_N_NEW, edits=[edit])
    assert list(found.ids) == _cut(expected, llama)
    assert found.changed == f"edits at {site}"


def test_what_changes_nothing_changes_nothing(llama: Model) -> None:
    plain = generate(llama, _PROMPT, max_new_tokens=_N_NEW)
    zero = generate(llama, _PROMPT, max_new_tokens=_N_NEW, vector=torch.zeros(llama.d_model), layer=1)
    same = generate(llama, _PROMPT, max_new_tokens=_N_NEW, edits=[Edit("blocks.1.attn.z", lambda z: z)])
    assert plain.ids == zero.ids == same.ids
    assert plain.changed == ""
    assert (zero.plain, zero.same_steps) == (plain.continuation, _N_NEW)
    assert "The unchanged model says the same." in zero.explain()
    for column in ("probability", "entropy_nats"):
        assert plain.to_frame()[column].tolist() == zero.to_frame()[column].tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_of_other_precision_are_continued_and_changed(
    dtype: torch.dtype, dissected: Callable[..., Model], untouched: Callable[..., PreTrainedModel]
) -> None:
    model = dissected("llama-grouped", dtype)
    found = generate(model, _PROMPT, max_new_tokens=_N_NEW, vector=torch.zeros(model.d_model), layer=1)
    assert found.same_steps == len(found.ids)
    if dtype == torch.float64:  # In fewer digits two ways to the same number may round to different tokens.
        theirs = _theirs(untouched("llama-grouped", dtype), inputs_of(model, _PROMPT), do_sample=False)
        assert list(found.ids) == theirs


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_every_step_tells_the_models_own_probability_and_rank(llama: Model, temperature: float) -> None:
    found = generate(llama, _PROMPT, max_new_tokens=_N_NEW, temperature=temperature, top_k=40, seed=5)
    ids = torch.cat([llama.to_ids(_PROMPT), torch.tensor(found.ids)])
    read = range(len(_PROMPT) - 1, len(ids) - 1)
    probabilities = run(llama, ids, read=read).logits[0].softmax(-1)
    frame = found.to_frame()
    for step, row in frame.iterrows():
        here, token = probabilities[step], row["token_id"]
        assert row["probability"] == pytest.approx(float(here[token]), rel=1e-4)
        assert row["rank"] == int((here > here[token]).sum()) + 1
        assert row["entropy_nats"] == pytest.approx(float(-(here * here.log()).sum()), rel=1e-4)
        assert row["pos"] == len(_PROMPT) + step
        rows = found.alternatives[found.alternatives["step"] == step]
        assert rows["probability"].tolist() == pytest.approx(here.topk(5).values.tolist(), rel=1e-4)
    assert found.loss_nats == pytest.approx(-frame["probability"].map(math.log).mean())
    assert (frame["rank"] == 1).all() == (temperature == 0)
    assert ((frame["drawn_probability"] == 1).all()) == (temperature == 0)


def test_cuts_leave_a_distribution_over_the_likeliest_tokens() -> None:
    logits = torch.tensor([0.5, 0.25, 0.15, 0.1]).log()
    for sampling, expected in (
        (Sampling(1.0), [0.5, 0.25, 0.15, 0.1]),
        (Sampling(1.0, top_k=2), [2 / 3, 1 / 3, 0.0, 0.0]),
        (Sampling(1.0, top_k=9), [0.5, 0.25, 0.15, 0.1]),
        (Sampling(1.0, top_p=0.7), [2 / 3, 1 / 3, 0.0, 0.0]),
        (Sampling(1.0, top_p=0.01), [1.0, 0.0, 0.0, 0.0]),
        (Sampling(0.5), [0.25 / 0.345, 0.0625 / 0.345, 0.0225 / 0.345, 0.01 / 0.345]),
    ):
        assert_close(sampling.distribution(logits), torch.tensor(expected))


def test_the_seed_decides_the_draws(llama: Model) -> None:
    first, again, other = (
        generate(llama, _PROMPT, max_new_tokens=_N_NEW, temperature=1.0, seed=seed) for seed in (1, 1, 2)
    )
    assert first.ids == again.ids != other.ids
    # Nobody else's random numbers are touched.
    before = torch.get_rng_state()
    generate(llama, _PROMPT, max_new_tokens=2, temperature=1.0)
    assert torch.equal(before, torch.get_rng_state())


def test_a_stream_yields_what_generate_finds_and_leaves_nothing_behind_when_abandoned(llama: Model) -> None:
    vector = torch.ones(llama.d_model)
    whole = generate(llama, _PROMPT, max_new_tokens=_N_NEW, vector=vector, layer=1, ablate="L0H1")
    stream = stream_tokens(llama, _PROMPT, max_new_tokens=_N_NEW, vector=vector, layer=1, ablate="L0H1")
    taken = []
    for token in stream:
        taken.append(token)
        assert _n_hooks(llama) == 0
        assert torch.is_grad_enabled()
        # Somebody else may use the model in between.
        run(llama, torch.tensor([97, 98, 99]))
        if len(taken) == 3:
            break
    stream.close()  # type: ignore[attr-defined]
    assert [token.token_id for token in taken] == list(whole.ids[:3])
    assert _n_hooks(llama) == 0
    assert [token.token_id for token in stream_tokens(llama, _PROMPT, max_new_tokens=2)] == list(
        generate(llama, _PROMPT, max_new_tokens=2).ids
    )


def test_a_mistake_is_told_by_the_call_and_not_by_the_first_token(llama: Model) -> None:
    with pytest.raises(UnknownOption, match="max_new_tokens refused"):
        stream_tokens(llama, _PROMPT, max_new_tokens=0)
    with pytest.raises(TypeError):
        stream_tokens(llama, _PROMPT, max_tokens=3)  # type: ignore[call-arg]


def _n_hooks(model: Model) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.hf.modules())


def test_no_hook_is_left_when_an_edit_fails(llama: Model) -> None:
    def fail(_tensor: Tensor) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        generate(llama, _PROMPT, edits=[Edit("blocks.1.attn.q", fail)])
    assert _n_hooks(llama) == 0


def test_the_models_own_end_ends_the_text(llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    long = generate(llama, _PROMPT, max_new_tokens=_N_NEW)
    assert long.stopped_by == "length"
    fourth = long.ids[3]
    first = long.ids.index(fourth)
    monkeypatch.setattr(llama.hf.generation_config, "eos_token_id", [fourth, 0])
    short = generate(llama, _PROMPT, max_new_tokens=_N_NEW)
    assert short.stopped_by == "end"
    assert short.ids == long.ids[: first + 1]
    assert short.continuation == long.continuation[:first]
    assert "then ends the text" in short.explain()


def test_a_full_context_ends_the_text(llama: Model) -> None:
    found = generate(llama, "a" * (llama.n_ctx - 2), max_new_tokens=_N_NEW)
    assert found.stopped_by == "context"
    assert len(found.ids) == 3
    assert "up to its longest text" in found.explain()


def test_a_token_that_is_half_a_character_joins_with_the_next(llama: Model) -> None:
    # One token a byte: the text is more than its tokens' texts.
    found = generate(llama, "Zoë", max_new_tokens=2, temperature=1.0)
    whole = llama.tokenizer.decode([*llama.to_ids("Zoë").tolist(), *found.ids])
    assert whole == "Zoë" + found.continuation


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_an_encoder_decoder_answers_to_its_source(name: str, dissected: Callable[..., Model]) -> None:
    model = dissected(name)
    one, other = (generate(model, source, max_new_tokens=4, temperature=1.0) for source in ("abc", "xyzw"))
    assert one.to_frame()["probability"].tolist() != other.to_frame()["probability"].tolist()
    begun = generate(model, "abc", max_new_tokens=3, target="q")
    inputs = inputs_of(model, "abc", target="q")
    assert begun.ids[0] == int(run(model, inputs).logits[0, -1].argmax())
    silenced = Edit("encoder.blocks.0.resid_post", torch.zeros_like)
    changed = generate(model, "abc", max_new_tokens=3, edits=[silenced])
    by_hand = run(model, inputs_of(model, "abc"), edits=[silenced]).logits[0, -1].softmax(-1)
    assert changed.to_frame()["probability"][0] == pytest.approx(float(by_hand.max()), rel=1e-4)


def test_it_is_saved_and_done_again(llama: Model, tmp_path: Path) -> None:
    vector = torch.randn(llama.d_model, generator=torch.Generator().manual_seed(1))
    found = generate(
        llama, _PROMPT, max_new_tokens=4, temperature=0.9, seed=3, ablate=["L1H0"], vector=vector, layer=2, coef=2.0
    )
    loaded = Result.load(found.save(tmp_path / "g.tlab"))
    assert isinstance(loaded, Generation)
    assert loaded.text() == found.text()
    again = loaded.replay()
    assert isinstance(again, Generation)
    assert again.ids == found.ids
    own = generate(llama, _PROMPT, max_new_tokens=2, edits=[Edit("blocks.0.resid_post", lambda x: x * 2)])
    with pytest.raises(UnknownOption, match=r"result not saved: .* got Edit"):
        own.save(tmp_path / "own.tlab")
    assert [path.name for path in tmp_path.iterdir()] == ["g.tlab"]


def test_it_says_its_numbers(llama: Model) -> None:
    found = generate(llama, _PROMPT, max_new_tokens=4, temperature=1.0, ablate="L1", seed=1)
    frame, sentence = found.to_frame(), found.explain()
    assert f"At temperature 1 with L1 ablated (zero), the model goes on from {_PROMPT!r}" in sentence
    assert repr(found.continuation) in sentence
    assert repr(found.plain) in sentence
    assert f"the first {found.same_steps} tokens are the same" in sentence
    least = frame.loc[frame["probability"].idxmin()]
    assert f"{least['token']!r} at step {least['step']}" in sentence
    assert f"{(frame['rank'] > 1).sum()} of them were not the likeliest" in sentence


def test_the_picture_has_a_bar_a_token_and_the_best_of_the_others(llama: Model) -> None:
    found = generate(llama, _PROMPT, max_new_tokens=5, temperature=1.0)
    picture = generation.draw(found)
    taken, best = picture.data
    assert list(taken.y) == found.to_frame()["probability"].round(4).tolist()
    for step, height in enumerate(best.y):
        rows = found.alternatives[found.alternatives["step"] == step]
        top, second = rows["probability"].iloc[:2]
        is_top = found.to_frame()["rank"][step] == 1
        assert height == pytest.approx(second if is_top else top, abs=1e-4)
    assert picture.layout.xaxis.title.text
    assert picture.layout.yaxis.title.text
