"""What the toys are trained on, and the measures that are read off their weights, on inputs with a known answer."""

from __future__ import annotations

import datetime as dt

import pytest
import torch

from tlab.training import ToyForCausalLM, dates, fourier, induction, modular_addition, superposition
from tlab.training.fitting import seeded
from tlab.training.vocabulary import character_tokenizer, word_tokenizer


def test_only_the_last_position_is_what_the_whole_model_says() -> None:
    with seeded(3) as generator:
        model = ToyForCausalLM(modular_addition._configuration())
        pairs, _ = modular_addition.split(generator)
    pairs = pairs[:50]
    prompts = torch.cat([pairs, torch.full((50, 1), modular_addition.MODULUS)], dim=1)
    expected = model(prompts).logits[:, -1, : modular_addition.MODULUS]
    torch.testing.assert_close(modular_addition.answer_logits(model, pairs), expected)


def test_the_split_covers_every_pair_once() -> None:
    shown, hidden = modular_addition.split(torch.Generator().manual_seed(0))
    together = torch.cat([shown, hidden])
    assert len(shown) == int(0.3 * 113**2)
    assert {tuple(pair) for pair in together.tolist()} == {
        tuple(pair) for pair in modular_addition.all_pairs().tolist()
    }
    assert len(together) == 113**2


def test_power_of_all_frequencies_is_the_tables_variance() -> None:
    table = torch.randn(113, 7, generator=torch.Generator().manual_seed(0))
    power = fourier.frequency_power(table)
    assert power.shape == (56,)
    torch.testing.assert_close(power.sum(), (table - table.mean(dim=0)).double().square().sum())


def test_a_wave_has_all_its_power_in_its_frequency() -> None:
    wave = (2 * torch.pi * 14 * torch.arange(113) / 113).cos()[:, None]
    power = fourier.frequency_power(wave)
    assert float(power[13] / power.sum()) == pytest.approx(1)
    assert fourier.gini(power) == pytest.approx(55 / 56)
    assert fourier.gini(torch.ones(56)) == pytest.approx(0)


def _wave_logits(*frequencies: int) -> torch.Tensor:
    """Return logits that add with waves of these frequencies, each later one half as strong."""
    numbers = torch.arange(113)
    sums = (numbers[:, None] + numbers[None]).flatten()
    angles = 2 * torch.pi * (sums[:, None] - numbers) / 113
    return sum((frequency * angles).cos() * 0.5**rank for rank, frequency in enumerate(frequencies)) * 9  # type: ignore[return-value]


def test_waves_that_carry_the_logits_are_found() -> None:
    logits = _wave_logits(14, 35)
    shares = fourier.logit_waves(logits)
    assert float(shares[13]) == pytest.approx(0.8, abs=1e-4)
    assert float(shares[34]) == pytest.approx(0.2, abs=1e-4)
    assert fourier.key_frequencies(logits) == (14, 35)
    noise = torch.randn(113**2, 113, generator=torch.Generator().manual_seed(0))
    assert fourier.key_frequencies(noise) == ()


def test_restricting_to_the_waves_keeps_them_and_excluding_removes_them() -> None:
    logits = _wave_logits(14, 35)
    torch.testing.assert_close(fourier.restricted(logits, (14, 35)), logits, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(fourier.excluded(logits, (14, 35)), logits * 0, rtol=0, atol=1e-3)
    torch.testing.assert_close(
        fourier.excluded(logits, (14,)), _wave_logits(14, 35) - _wave_logits(14), rtol=0, atol=1e-3
    )
    torch.testing.assert_close(fourier.excluded(logits, (20,)), logits, rtol=0, atol=1e-3)


def test_a_phrase_is_written_twice_and_marked() -> None:
    generator = torch.Generator().manual_seed(0)
    batch = induction.draw(200, induction.chain(), generator)
    assert batch.ids.shape == (200, 64)
    for ids, first, second in zip(batch.ids, batch.first, batch.second, strict=True):
        n_words = int(first.sum())
        assert 7 <= n_words == int(second.sum()) <= 29
        assert ids[first].tolist() == ids[second].tolist()
        assert len(set(ids[first].tolist())) == n_words
        places = [marked.nonzero()[:, 0] for marked in (first, second)]
        assert all(int(place[-1] - place[0]) == n_words - 1 for place in places)
        assert int(places[0][-1]) < int(places[1][0]) - 1
    assert {int(batch.first.sum(dim=1).min()), int(batch.first.sum(dim=1).max())} == {7, 29}


def test_the_chain_follows_its_table() -> None:
    table = induction.chain()
    torch.testing.assert_close(table.sum(dim=1), torch.ones(64))
    walk = induction._walk(400, table, torch.Generator().manual_seed(0))
    counts = torch.zeros(64, 64).index_put(
        (walk[:, :-1].flatten(), walk[:, 1:].flatten()), torch.ones(()), accumulate=True
    )
    frequencies = counts / counts.sum(dim=1, keepdim=True)
    assert float((frequencies - table).abs().max()) < 0.1
    assert float(torch.corrcoef(torch.stack([frequencies.flatten(), table.flatten()]))[0, 1]) > 0.97


def test_a_head_that_copies_by_position_is_seen_by_its_score() -> None:
    ids = induction.repeats(4, torch.Generator().manual_seed(0))
    assert all(len(set(row[:32].tolist())) == 32 for row in ids)
    torch.testing.assert_close(ids[:, :32], ids[:, 32:])

    class Patterned:
        """Attends to the previous position in layer 0, and 31 positions back in layer 1."""

        def __call__(self, ids: torch.Tensor, **_: object) -> object:
            def shifted(offset: int) -> torch.Tensor:
                return torch.diag(torch.ones(64 - offset), -offset).expand(len(ids), 1, 64, 64)

            return type("Outputs", (), {"attentions": (shifted(1), shifted(31))})()

    scores = induction.head_scores(Patterned(), ids)  # type: ignore[arg-type]
    assert scores.previous_token.tolist() == [[1.0], [0.0]]
    assert scores.induction.tolist() == [[0.0], [1.0]]


def test_dates_are_written_as_people_write_them() -> None:
    day = dt.date(1997, 3, 3)
    texts = [dates.written(day, template) for template in dates.FORMATS]
    assert len(set(texts)) == len(dates.FORMATS)
    assert {"3 March 1997", "Mon, 3rd of March 1997", "March 3, 1997", "03.03.1997", "1997/03/03"} <= set(texts)
    endings = [
        dates.written(dt.date(2024, 1, number), "{ordinal}") for number in (1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 31)
    ]
    assert endings == ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "23rd", "31st"]
    assert {character for text in texts for character in text + text.lower()} <= set(dates.CHARACTERS)


def test_no_day_is_both_shown_and_held_out() -> None:
    shown, hidden = dates.split(torch.Generator().manual_seed(0))
    assert not set(shown) & set(hidden)
    assert len(shown) + len(hidden) == len({*shown, *hidden}) == 73_049
    drawn = dates.draw(300, hidden, torch.Generator().manual_seed(1))
    assert {example.iso for example in drawn} <= {day.isoformat() for day in hidden}
    assert any(example.text.islower() for example in drawn)


def test_words_come_back_from_their_ids() -> None:
    tokenizer = word_tokenizer(["ant", "bee"])
    assert tokenizer("bee ant  owl")["input_ids"] == [1, 0, 2]
    assert tokenizer.decode([1, 0, 2]) == "bee ant <unk>"


def test_characters_come_back_from_their_ids_with_an_end() -> None:
    tokenizer = character_tokenizer(["a", " ", "1"])
    batch = tokenizer(["a 1", "a?"], padding=True)
    assert batch["input_ids"] == [[3, 4, 5, 1], [3, 2, 1, 0]]
    assert batch["attention_mask"] == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert tokenizer.decode([3, 4, 5, 1, 0], skip_special_tokens=True) == "a 1"


def test_a_model_with_as_many_dimensions_as_features_has_no_interference() -> None:
    model = superposition.SuperpositionModel((1.0,), (1.0,) * 4, torch.eye(4)[None], torch.zeros(1, 4))
    assert model.n_represented == (4,)
    torch.testing.assert_close(model.dimensionality, torch.ones(1, 4))
    torch.testing.assert_close(model.interference, torch.zeros(1, 4))
    x = torch.rand(1, 10, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.forward(x), x)


def test_opposite_features_share_a_dimension() -> None:
    model = superposition.SuperpositionModel((0.1,), (1.0, 1.0), torch.tensor([[[1.0, -1.0]]]), torch.zeros(1, 2))
    torch.testing.assert_close(model.dimensionality, torch.full((1, 2), 0.5))
    torch.testing.assert_close(model.interference, torch.ones(1, 2))
    # Alone, each comes back whole: the other's negative image is cut off.
    torch.testing.assert_close(
        model.forward(torch.tensor([[[0.7, 0.0], [0.0, 0.4]]]))[0], torch.tensor([[0.7, 0], [0, 0.4]])
    )
