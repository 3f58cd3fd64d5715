"""Faults to plant, one at a time: file under src/ranvier, what stands there, what shall stand there, the tests to run.

Each changes what a user sees. A mutant that lives shows what no test pins.
"""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One planted fault. `tests` are arguments of pytest, and `old` occurs once in the file."""

    file: str
    old: str
    new: str
    tests: str


PRINTED = "tests/derive/test_random_rules.py -k printed"
ADJOINT = "tests/derive/test_adjoint.py -k triton"
HOIST = "tests/derive/test_hoist.py"
OPS = "tests/backends/test_ops.py -k numba"
TILES = "tests/backends/test_agreement.py -k many_tiles"
TWIN = "tests/laws/test_smooth_twin.py -k antiderivative"
LOSS = "tests/train/test_loss.py"
RULES = "tests/plasticity/test_rules.py tests/compat/test_pysnn.py"
RATE = "tests/convert/test_rate.py"
ANN = "tests/convert/test_ann.py tests/convert/test_percentile.py"
DELAYS = "tests/nn/test_bounds.py -k delay"
FAMILY = "tests/nn/test_neuron.py tests/nn/test_neuron_family.py tests/test_docs.py"

MUTANTS = [
    # derive
    Mutant("derive/operations.py", '"sub": _passes(lambda g, y, a, b: (g, -g))',
           '"sub": _passes(lambda g, y, a, b: (g, g))', PRINTED),
    Mutant("derive/operations.py", "(g * b, g * a)", "(g * b, g * b)", PRINTED),
    Mutant("derive/operations.py", "return g_a, -(g_a * y)", "return g_a, g_a * y", PRINTED),
    Mutant("derive/operations.py", "(g / (2.0 * y),)", "(g / y,)", PRINTED),
    Mutant("derive/operations.py", "(g * (1.0 - y * y),)", "(g * (1.0 - y),)", PRINTED),
    Mutant("derive/operations.py", "(g * ops.sign(a),)", "(g,)", PRINTED),
    Mutant("derive/operations.py", "(g * ops.sigmoid(a),)", "(g * y,)", PRINTED),
    Mutant("derive/operations.py", "each = ops.where(tie, 0.5 * g, g)", "each = g", PRINTED),
    Mutant("derive/operations.py", "(a >= low) & (a <= high)", "(a > low) & (a < high)", PRINTED),
    Mutant("derive/adjoint.py", "gradient[operand] + g if operand in gradient else g", "g", PRINTED),
    Mutant("derive/operations.py", '"inject": _passes(lambda g, y, model, measured: (g, None))',
           '"inject": _passes(lambda g, y, model, measured: (None, g))', PRINTED),
    Mutant("derive/operations.py", '"stop": _passes(lambda g, y, a: (None,))',
           '"stop": _passes(lambda g, y, a: (g,))', PRINTED),
    Mutant("derive/adjoint.py", "ops.where(g == 0.0, 0.0, g_a) if scaled", "g_a if scaled", ADJOINT),
    Mutant("derive/trace.py", '_binary("sub"), _binary("sub", True)', '_binary("sub"), _binary("sub")', OPS),
    Mutant("derive/trace.py", ".keeping(out + after).numbered()", ".keeping(out + after)",
           "tests/derive/test_random_rules.py -k nothing_reads"),
    Mutant("derive/source.py", '"1e999" if a > 0 else "-1e999"', '"1e999"', PRINTED),
    Mutant("derive/source.py", '"ge": ">="', '"ge": ">"', PRINTED),
    Mutant("derive/rule.py", "text = [self.name, *self.arguments, ", "text = [self.name, ",
           "tests/derive/test_rule.py"),
    Mutant("derive/rule.py", "reads = self.step.keeping([self.after[k] for k in seen]).reads", "reads = set()",
           "tests/derive/test_rule.py"),
    Mutant("derive/hoist.py", '"sub": operator.sub', '"sub": operator.add', HOIST),
    Mutant("derive/hoist.py", "op.name not in SPIKES and ", "", HOIST),
    Mutant("derive/hoist.py", "OPERATIONS[op.name].cost > 1", "OPERATIONS[op.name].cost > 100", HOIST),
    # ops and backends
    Mutant("ops.py", "_Spike.apply(u, u >= 0", "_Spike.apply(u, u > 0", OPS),
    Mutant("ops.py", '"stop": lambda a: a.detach()', '"stop": lambda a: a', PRINTED),
    Mutant("surrogate.py", "d = 1.0 + k * ops.abs(u)", "d = 1.0 + 1.01 * k * ops.abs(u)", TWIN),
    Mutant("surrogate.py", "ops.abs(u) < width / 2, height", "ops.abs(u) < width, height", TWIN),
    Mutant("backends/numba_ops.py", "a < real(-86.6)", "a < real(-40)", OPS),
    Mutant("backends/numba_ops.py", "real(2 / 15)", "real(2 / 14)", OPS),
    Mutant("backends/numba_ops.py", "return a if a < b or a != a else b", "return a if a < b else b", OPS),
    Mutant("backends/numba_ops.py", "real(1) if u >= real(0)", "real(1) if u > real(0)", OPS),
    Mutant("backends/numba_ops.py", "math.log1p(exp(-abs(a)))", "math.log(real(1) + exp(-abs(a)))", OPS),
    Mutant("backends/numba_kernels.py", "read(carry, g_final, a, b)", "read(carry, initial, a, b)", TILES),
    Mutant("backends/numba_backend.py", "lo, hi)\", add=True)", "lo, hi)\")", TILES),
    Mutant("backends/op.py", "if all(given[name].numel() == 1", "if any(given[name].numel() == 1", HOIST),
    # spikes
    Mutant("spikes/bits_kernels.py", "<< np.uint64(k - whole)", "<< np.uint64(k - whole + 1)",
           "tests/spikes/test_bits.py"),
    Mutant("spikes/bits_kernels.py", ">> np.uint64(k % 64)", ">> np.uint64(k % 32)", "tests/spikes/test_bits.py"),
    Mutant("spikes/bits_kernels.py", "(row[k] != 0) & (row[k] != 1)", "(row[k] != 0) & (row[k] > 1)",
           "tests/spikes/test_bits.py tests/spikes/test_product.py"),
    Mutant("spikes/product_kernels.py", "amounts[n] = np.float32(1)", "amounts[n] = np.float32(2)",
           "tests/spikes/test_product.py"),
    Mutant("spikes/product_kernels.py", "if rest < 64:", "if rest < 32:", "tests/spikes/test_product.py"),
    Mutant("spikes/feedback_cpu_kernels.py", "before = y[t - 1] if t else z", "before = y[t - 1] if t else x[t]",
           "tests/spikes/test_feedback.py"),
    Mutant("spikes/feedback_cpu_kernels.py", "g_y[t, i, n] + g_after[i, n]", "g_y[t, i, n]",
           "tests/nn/test_stage_linear.py -k return"),
    # nn
    Mutant("nn/reset.py", '"zero": lambda v, z, threshold: v * (1.0 - z)',
           '"zero": lambda v, z, threshold: v * (1.0 - 0.9 * z)', FAMILY),
    Mutant("nn/reset.py", "after(v, stop(z), threshold)", "after(v, z, threshold)", FAMILY),
    Mutant("nn/neurons/adaptive.py", "rho * a + z", "rho * (a + z)", FAMILY),
    Mutant("nn/filter.py", "softplus(-smoothing)", "softplus(smoothing)", "tests/nn/test_layers.py tests/test_docs.py"),
    Mutant("nn/delay.py", "before = delay.detach().floor().clamp", "before = delay.detach().ceil().clamp", DELAYS),
    Mutant("nn/delay.py", "bounded(self.delay, 0.0, float(self.reach))", "self.delay", DELAYS),
    Mutant("nn/bounds.py", "(below & (g > 0)) | (above & (g < 0))", "below | above", DELAYS),
    Mutant("nn/filter.py", "return low, self.decaying.detach() - APART", "return low, high",
           "tests/nn/test_bounds.py -k synapse"),
    Mutant("nn/dropout.py", "functional.dropout(torch.ones_like(x_t), self.p)",
           "functional.dropout(torch.ones_like(x_t), self.p / 2)", "tests/nn/test_layers.py"),
    Mutant("nn/pool.py", "return total // 2, total - total // 2", "return total - total // 2, total // 2",
           "tests/nn/test_pool.py"),
    Mutant("nn/refractory.py", "maximum(left - 1.0, 0.0)", "maximum(left - 2.0, 0.0)",
           "tests/nn tests/compat/hxtorch -k refractory"),
    # loss
    Mutant("train/loss.py", "-first / self.tau", "-first * self.tau", LOSS),
    Mutant("train/loss.py", "(traces - self.aim)", "(traces + self.aim)", LOSS),
    Mutant("train/loss.py", "math.exp(-1 / self.tau)", "math.exp(-2 / self.tau)", LOSS),
    Mutant("train/loss.py", "self.sparsity * wanted", "wanted", LOSS),
    Mutant("train/loss.py", "total / self.temperature", "total * self.temperature", LOSS),
    Mutant("train/loss.py", "(1 - self.share) * right", "right", LOSS),
    Mutant("train/loss.py", "torch.where(counted, traces, -torch.inf)", "torch.where(counted, traces, 0.0)", LOSS),
    Mutant("train/traces.py", "torch.where(counted, traces, 0.0).sum(0), lengths", "traces.sum(0), lengths", LOSS),
    Mutant("train/traces.py", "counts = table[known]", "counts = table[known].sqrt()", LOSS),
    # plasticity
    Mutant("plasticity/rules.py", "(high - w, w - low)", "(w - low, high - w)", RULES),
    Mutant("plasticity/rules.py", "((high - w).clamp(min=0) ** mu, ", "((high - w).clamp(min=0), ", RULES),
    Mutant("plasticity/rules.py", "_trace(rho_pre, plus,", "_trace(rho_post, plus,", RULES),
    Mutant("plasticity/rules.py", "(y_slow - post)", "y_slow", RULES),
    Mutant("plasticity/rules.py", "power * weight.detach()", "power", RULES),
    Mutant("plasticity/rules.py", "(v_plus - theta_minus)", "(v_plus - theta_plus)", RULES),
    Mutant("plasticity/trace.py", "gain * z * (1.0 - trace * rho)", "gain * z * (1.0 - trace)", RULES),
    Mutant("plasticity/trace.py", "trace + (1.0 - rho) * (gain * z - trace)", "trace + rho * (gain * z - trace)",
           RULES),
    Mutant("plasticity/change.py", "weight.grad.sub_(change)", "weight.grad.add_(change)",
           RULES + " tests/test_docs.py"),
    Mutant("plasticity/change.py", "torch.where(sums > 0, total / sums, 1.0)", "total / sums", RULES),
    Mutant("plasticity/hebb.py", "total / pre.shape[1] if", "total / pre.shape[0] if", RULES),
    # online
    Mutant("backends/numba_traces_kernels.py", "reach[j] = const(1.0)", "reach[j] = const(0.5)",
           "tests/backends/test_traces.py -k numba"),
    Mutant("backends/triton_traces_kernels.py", "* PLACES + offs % PLACES", "* PLACES",
           "tests/backends/test_traces.py -k triton"),
    Mutant("derive/influence.py", "if v != 0.0}", "if v == 0.0}", "tests/online/test_exact.py -k LIF"),
    Mutant("online/work.py", "j] = 1.0", "j] = 0.0", "tests/online/test_exact.py"),
    Mutant("online/work.py", "spatial = [given[0]]", "spatial = [0.5 * given[0]]", "tests/online/test_exact.py"),
    Mutant("online/feedback.py", "(rows.to(w) @ w)", "(rows.to(w) @ w.abs())", "tests/online/test_published.py"),
    Mutant("online/learning.py", "self.losses % self.how.every == 0", "self.losses",
           "tests/online/test_learning.py"),
    Mutant("online/bound.py", "at += w.shape[1]", "at += 0", "tests/online/test_learning.py"),
    # convert
    Mutant("convert/ann.py", "else percentile / 100.0", "else 1.0", ANN),
    Mutant("convert/ann.py", "math.ceil(share * rows.shape[1])", "math.floor(share * rows.shape[1])", ANN),
    Mutant("convert/ann.py", "torch.where(peaks > 0, peaks, rows.max(1).values)", "peaks", ANN),
    Mutant("convert/spiking.py", "begin=0.5 * threshold", "begin=0.0 * threshold", ANN),
    Mutant("convert/spiking.py", "return x - last, x", "return x, x", ANN),
    Mutant("convert/spiking.py", "(ramp * self.levels + 0.5)", "(ramp * self.levels)", ANN),
    Mutant("convert/rate.py", "n = floor(v)\n        v = v - n", "n = floor(v + 0.5)\n        v = v - n", RATE),
    Mutant("convert/rate.py", "where(x <= 0.0, 0.0, x)", "where(x <= 0.0, 0.0 * x, -x)", RATE),
]  # fmt: skip
