"""The declarations of a neuron class: they are collected from its body, checked against its rule, and shown in its
docstring.
"""

import inspect
from typing import Any, Literal

from ranvier.nn.declare import Learn, Option, Param, State, Time

KINDS = {"params": Param, "states": State, "options": Option, "times": Time}
COMMON = {"surrogate": None, "learn": (), "shape": None}


def read(cls: Any) -> None:
    """Move the declarations of a class from its attributes into cls.params, cls.states, cls.options and cls.times."""
    if isinstance(vars(cls).get("learn"), Learn):
        del cls.learn
    taken = set(dir(cls.__mro__[1])) | set(COMMON) | {"z"}
    for attribute, kind in KINDS.items():
        own = {k: v for k, v in vars(cls).items() if isinstance(v, kind)}
        for k in own:
            delattr(cls, k)
            if k in taken and not (k == "z" and kind is State):
                raise TypeError(
                    f"{cls.__name__}: {k!r} is already a name of every neuron (`help(ranvier.{cls.__name__})` "
                    f"lists them); give the {kind.__name__} another name, such as {k}_"
                )
        setattr(cls, attribute, {**getattr(cls, attribute), **own})


def check_rule(cls: Any) -> None:
    """Set inputs and states in the order of the rule's arguments; raise an error if the rule does not fit the
    declarations.
    """
    name, rule = cls.__name__, inspect.getattr_static(cls, "rule")
    if not isinstance(rule, staticmethod):
        if "self" in inspect.signature(rule).parameters:
            raise TypeError(
                f"{name}.rule takes self, but a rule must depend only on its arguments{place(rule)}\n"
                f"Write @staticmethod above it and leave self out: parameters and states are arguments, by name."
            )
        cls.rule = rule = staticmethod(rule)
    said = list(inspect.signature(rule.__func__).parameters)
    wanted = {*cls.params, *cls.states, *(k for k, o in cls.options.items() if o.make)}
    if lacking := sorted(wanted - set(said)):
        whose = f"{name}.rule" if "rule" in vars(cls) else f"the rule that {name} has from {_owner(cls)}"
        raise TypeError(
            f"{whose} does not take {lacking}, which {name} declares{place(rule.__func__)}\n"
            f"Write a rule(...) in {name} that takes {', '.join(lacking)} too."
        )
    cls.inputs = tuple(n for n in said if n not in {*cls.params, *cls.states, *cls.options})
    if not cls.inputs:
        raise TypeError(f"{name}.rule takes no input; write rule(x, {', '.join(said)})")
    cls.states = {k: cls.states[k] for k in said if k in cls.states}


def _owner(cls: Any) -> str:
    return next(c.__name__ for c in cls.__mro__ if "rule" in vars(c))


def place(function: Any, line: Literal["first", "return"] = "first") -> str:
    """Return file and line of a function for an error message: its first line, or its last `return`."""
    function = inspect.unwrap(function)
    try:
        lines, start = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return ""
    at = [k for k, text in enumerate(lines) if text.strip().startswith("def " if line == "first" else "return")]
    k = (at[0] if line == "first" else at[-1]) if at else 0
    return (
        f'\n  File "{function.__code__.co_filename}", line {start + k}, in {function.__name__}\n    {lines[k].strip()}'
    )


def keywords(cls: Any) -> dict[str, Any]:
    """Return every argument of the constructor that the class declares, with its default."""
    found = {k: p.default for k, p in cls.params.items()} | dict.fromkeys(cls.times)
    found |= {k: o.default for k, o in cls.options.items()}
    return found | COMMON | {"learn": cls.learned}


def signature(cls: Any) -> inspect.Signature:
    """Return the signature of the constructor: the arguments of the class's own `__init__`, then the declared ones."""
    own = dict(list(inspect.signature(cls.__init__).parameters.items())[1:])
    rest = not any(p.kind is p.VAR_KEYWORD for p in own.values())
    common = {**COMMON, **cls.options, **cls.times}
    kept = [p for k, p in own.items() if p.kind is not p.VAR_KEYWORD and (rest or k not in common)]
    only = inspect.Parameter.KEYWORD_ONLY
    declared = (
        {}
        if rest
        else {k: v for k, v in keywords(cls).items() if k not in (p.name for p in kept) and k not in cls.replaced}
    )
    return inspect.Signature([*kept, *(inspect.Parameter(k, only, default=v) for k, v in declared.items())])


def document(cls: Any) -> None:
    """Add the sections *Arguments* and *States* to the docstring of a class."""
    if not cls.__dict__.get("__doc__"):
        return
    lines = [_line(k, p.default, p.doc, p.range) for k, p in cls.params.items() if k not in cls.replaced]
    lines += [_line(k, None, f"{t.doc}: instead of {t.of}, in the unit of dt", "") for k, t in cls.times.items()]
    lines += [_line(k, o.default, o.doc, _choices(o)) for k, o in cls.options.items()]
    lines += ["surrogate, learn, shape: as for every `ranvier.Neuron`."]
    states = [f"{k}: {s.doc or 'state'}; begins at {s.initial}." for k, s in cls.states.items()]
    text = "".join(f"\n        {line}" for line in lines)
    if states:
        text += "\n\n    States:" + "".join(f"\n        {line}" for line in states)
    cls.__doc__ = f"{cls.__doc__.rstrip()}\n\n    Arguments:{text}\n    "


def _choices(option: Option) -> str:
    return f"one of {', '.join(map(repr, option.choices))}" if option.choices else ""


def _line(name: str, default: Any, doc: str, more: str) -> str:
    return f"{name}{'' if default is None else f' = {default!r}'}: {doc}{f'; {more}' if more else ''}."
