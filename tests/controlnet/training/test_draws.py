from itertools import islice
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from controlnet.training.draws import Drawn, Draws, StepSeed


def indices(draws, count):
    return [[index for index, _ in batch] for batch in islice(draws, count)]


def test_an_epoch_takes_each_item_once_and_the_next_one_in_another_order():
    first, second, third, fourth = indices(Draws(8, 4, 0, lambda: 0), 4)
    assert sorted(first + second) == sorted(third + fourth) == list(range(8))
    assert first + second != third + fourth


def test_what_fills_no_batch_is_left_out_of_an_epoch():
    taken = indices(Draws(7, 3, 0, lambda: 0), 2)
    assert len({index for batch in taken for index in batch}) == 6


@pytest.mark.parametrize("start", [1, 3, 5])
def test_a_start_in_the_middle_draws_what_would_have_been_drawn(start):
    whole = list(islice(Draws(7, 3, 9, lambda: 0), 8))
    assert list(islice(Draws(7, 3, 9, lambda: start), 8 - start)) == whole[start:]


def test_processes_share_an_epoch_out():
    both = [indices(Draws(8, 2, 0, lambda: 0, rank, 2), 2) for rank in (0, 1)]
    assert sorted(index for batches in both for batch in batches for index in batch) == list(range(8))


def test_chances_differ_between_items_epochs_and_seeds():
    seeds = [seed for batch in islice(Draws(4, 2, 0, lambda: 0), 4) for _, seed in batch]
    other = [seed for batch in islice(Draws(4, 2, 1, lambda: 0), 4) for _, seed in batch]
    assert len({*seeds, *other}) == 16


def test_fewer_pictures_than_a_batch_are_refused():
    with pytest.raises(ValueError, match="5 pictures, too few for one batch of 3 in each of 2 processes"):
        Draws(5, 3, 0, lambda: 0, world=2)


class Chances:
    """Items that are the index and a chance."""

    def __getitem__(self, index):
        return {"chance": torch.tensor([float(index), torch.rand(()).item()])}


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more than a core: the machine may have one
def test_a_draw_is_the_same_item_in_any_process():
    def items(workers):
        loader = DataLoader(Drawn(Chances()), batch_sampler=Draws(6, 2, 0, lambda: 0), num_workers=workers)
        return torch.cat([batch["chance"] for batch in islice(loader, 4)])

    assert torch.equal(items(0), items(2))
    assert len(set(items(0)[:, 1].tolist())) == 8


def test_items_leave_the_chances_of_steps_alone():
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    Drawn(Chances())[0, 17]
    assert torch.equal(torch.rand(2), wanted)


def noise(seed, steps):
    chance = StepSeed(seed)
    drawn = []
    for step in steps:
        chance.on_train_batch_start(SimpleNamespace(global_step=step, global_rank=0), None, None, 0)
        drawn.append(torch.rand(()).item())
    return drawn


def test_a_steps_noise_is_decided_by_its_number():
    whole = noise(0, range(4))
    assert noise(0, [2, 3]) == whole[2:]
    assert len(set(whole)) == 4
    assert noise(1, range(4)) != whole


def test_batches_of_one_step_have_noise_of_their_own():
    assert len(set(noise(0, [0, 0, 1, 1]))) == 4
