"""A rule's key names its compiled code, so whatever changes the code or the meaning of its arguments must change it."""

import itertools

from ranvier import surrogate
from ranvier.derive.rule import Rule
from ranvier.ops import spike, where


def made(function, name="Rule", g=None, inputs=("x",), states=("v",), params=("a", "b"), numbers=()):
    return Rule(name, function, g or surrogate.atan(), inputs, states, params, numbers)


def gated(x, v, a, b):
    return (where(a > 0.0, x, v),), (v,)


def test_equal_rules_share_a_key():
    assert made(gated).key == made(lambda *values: gated(*values)).key


def test_whatever_differs_changes_the_key():
    rules = [
        made(gated),
        made(gated, name="Other"),
        made(lambda x, v, b, a: gated(x, v, a, b), params=("b", "a")),  # the same lines, parameters in another order
        made(lambda x, v, a, b: gated(x, v, b, a)),
        made(lambda x, v, a, b: ((where(a > 0.5, x, v),), (v,))),
        made(lambda x, v, a, b: ((where(a > 0.0, x, v),), (x,))),
        made(lambda x, v, a, b: ((where(a > 0.0, x, v), v), (v,))),
        made(lambda x, y, v, a: ((where(a > 0.0, x, v),), (v,)), inputs=("x", "y"), params=("a",)),
        made(lambda x, v, a, b: ((spike(x),), (v,))),
        made(lambda x, v, a, b: ((spike(x),), (v,)), g=surrogate.superspike()),
        made(lambda x, v, a, b: ((spike(x, strict=True),), (v,))),
    ]
    for one, other in itertools.combinations(rules, 2):
        assert one.key != other.key, (one.step, other.step)


def test_what_is_recomputed_is_what_the_gradient_reads_and_what_that_follows_from():
    def chain(x, v, w, u, a):
        return (spike(v - a),), (0.5 * v + w, 0.5 * w + x, u + x)

    rule = made(chain, states=("v", "w", "u"), params=("a",))
    assert rule.retraced(rule.backward((True, True))) == [0, 1]  # v is read, w makes it, u is nobody's
    linear = made(lambda x, v, w, a: ((v,), (0.5 * v + w, x)), states=("v", "w"), params=("a",))
    assert linear.retraced(linear.backward((True, False))) == []
