"""What differs on purpose is one list on docs/moving.md: each of its rows has a test, and here is which."""

import ast
import re
from pathlib import Path

import pytest
import torch

import ranvier.compat.sinabs.layers as sl
import ranvier.compat.snntorch as snn
import ranvier.compat.snntorch.functional as SF
from ranvier.compat import pysnn
from ranvier.compat.snntorch import spikegen
from ranvier.compat.spyx import fn, nn

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "moving.md"
TESTS = {  # the first words of a row: its tests, `file::test`
    "any hidden state": "test_spikingjelly_errors::test_a_batch_of_another_size_is_refused_without_reset",
    "SpikingJelly, a second backward": "test_spikingjelly_programs::test_a_second_backward_names_the_cure",
    "SpikingJelly, `backend=`": "test_spikingjelly_programs::test_backends_are_taken_and_told",
    "SpikingJelly, `LIAFNode`": "test_spikingjelly_golden::test_analog_neuron_gives_its_activation",
    "SpikingJelly, overriding parts": "test_spikingjelly_programs::test_an_override_that_would_never_run_is_refused",
    "SpikingJelly, surrogates with": "test_spikingjelly_programs::test_old_arguments_that_are_refused",
    "SpikingJelly, names of few": "test_published_names::test_what_is_not_here_is_on_the_page",
    "SpikingJelly, `copy.deepcopy`": "test_spikingjelly_programs::test_a_network_is_copied_after_a_forward_pass",
    "snnTorch, `Alpha": "test_snntorch::test_refusals",
    "snnTorch, `state_quant`": "test_snntorch::test_refusals",
    "snnTorch, `mse_temporal_loss`": "test_differences::test_names_that_are_not_here",
    "Sinabs, `MembraneReset": "test_sinabs::test_a_reset_value_is_where_a_spike_leads",
    "Sinabs, `surrogate_grad_fn`": (
        "test_sinabs::test_what_is_not_here_is_refused test_differences::test_names_that_are_not_here"
    ),
    "Norse, `method`": "test_norse::test_parameters_learn_and_may_be_set",
    "PySNN, refractory periods": (
        "test_pysnn::test_p1_refractory_period_ends_for_any_dt test_pysnn::test_p9_no_spike_while_refractory "
        "test_pysnn::test_p2_divisibility_is_judged_with_tolerance"
    ),
    "PySNN, `Conv2d`": (
        "test_pysnn::test_p4_convolution_is_torchs_convolution test_pysnn::test_p5_no_spike_is_lost_or_merged "
        "test_pysnn::test_p6_pooled_traces_are_those_of_the_spikes"
    ),
    "PySNN, `FedeSTDP`": "test_pysnn::test_p7_weights_stay_finite_when_no_trace_is_positive",
    "PySNN, `poisson_encoding`": "test_pysnn::test_p16_the_encoder_is_poisson",
    "PySNN, `BooleanNoise`": (
        "test_pysnn::test_boolean_sets_and_their_transforms test_pysnn::test_event_files_there_and_back "
        "test_pysnn::test_a_file_of_the_published_layout_becomes_frames_of_its_own"
    ),
    "PySNN, `show_td`": "test_differences::test_a_film_is_refused",
    "pytorch-spiking, a given": "test_pytorch_spiking::test_the_given_state_is_left_alone",
    "pytorch-spiking, parameters": "test_pytorch_spiking::test_parameters_of_the_activation_learn",
    "hxtorch, `BatchDropout`": "test_modules::test_d5_fields_hold_what_their_names_say",
    "hxtorch, `integration_step_code`": "test_functional::test_errors_come_up_front",
    "hxtorch, results beyond": "test_functional::test_dropout_and_input_neuron",
    "hxtorch, refractory steps": "test_functional::test_silent_steps_do_not_depend_on_rounding",
    "hxtorch, without a chip": "test_hxtorch_yinyang::test_the_chip_is_refused",
    "Spyx, keys": "test_differences::test_keys_of_every_kind",
    "Spyx, `PopulationCode`": (
        "test_spyx::test_population_code_groups_as_documented test_spyx::test_rate_code_has_a_time_axis "
        "test_spyx::test_shift_augment_is_symmetric"
    ),
    "Spyx, labels out of range": "test_differences::test_labels_out_of_range_are_refused",
    "Spyx, recurrent weights": "test_spyx::test_initial_parameters",
    "Spyx, `spikes_to_phase`": "test_spyx::test_phases",
}


def rows() -> list[str]:
    table = PAGE.read_text().split("## What differs on purpose")[1]
    return [line[2:] for line in table.splitlines() if line.startswith("| ")][1:]


def test_each_row_of_the_page_has_a_test_that_exists():
    known = {
        f"{path.stem}::{node.name}"
        for path in HERE.rglob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    matches = {row: [words for words in TESTS if row.startswith(words)] for row in rows()}
    assert [row for row, words in matches.items() if len(words) != 1] == []
    assert {w for words in matches.values() for w in words} == TESTS.keys()
    assert [test for tests in TESTS.values() for test in tests.split() if test not in known] == []


def test_names_that_are_not_here():
    for module, names in ((SF, "mse_temporal_loss ce_temporal_loss"), (snn, "SLSTM SConv2dLSTM"),
                          (spikegen, "targets_convert targets_rate targets_latency"),
                          (sl, "ALIF LIFRecurrent ALIFRecurrent ExpLeakRecurrent")):  # fmt: skip
        assert [n for n in names.split() if hasattr(module, n)] == []


def test_a_film_is_refused():
    with pytest.raises((NotImplementedError, ValueError), match=re.escape("show_td")):
        pysnn.file_io.show_td(None)


def test_keys_of_every_kind():
    drawn = [nn.RLIF((3,), rngs=key).recurrent_w for key in (7, torch.Generator().manual_seed(7), None)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_labels_out_of_range_are_refused():
    with pytest.raises((ValueError, IndexError)):
        fn.integral_crossentropy()(torch.zeros(2, 5, 3), torch.tensor([0, 3]))
