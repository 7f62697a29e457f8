"""The search: wishes, values and refusals as clauses for a SAT solver (python-sat).

A literal says "this value", one for each wish "this wish counts", one for each rule "this rule
counts". A wish demands one of the values that it admits; a rule forbids values together. So the
wishes that count are assumptions, and which of them cannot stand together is a question that the
solver answers, smallest set first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from pysat.examples.optux import OptUx
from pysat.formula import WCNF
from pysat.solvers import Minisat22

from cudactl.stack.solver.constraints import REFUSALS, Rule
from cudactl.stack.solver.dimensions import Choice, Dimensions
from cudactl.stack.solver.wishes import Wish

SMALL = 3
"""Conflicts of up to this many wishes are looked for one by one: that finds all of them."""


class Instance:
    """One set of values and rules; wishes come and go."""

    def __init__(self, dimensions: Dimensions, rules: Sequence[Rule] = REFUSALS) -> None:
        self.dimensions: Dimensions = {}
        self.rules = rules
        self._solver = Minisat22()
        self._clauses: list[list[int]] = []
        self._last = 0
        self._choices: dict[Choice, int] = {}
        self._wishes: dict[tuple[str, str], int] = {}
        self._rules: dict[str, int] = {code: self._new() for code in _codes(rules)}
        for choices in dimensions.values():
            for choice in choices:
                self._number(choice)
        for rule in rules:
            if all(dim in self.dimensions for dim in rule.dims):
                self._forbid(rule, [self.dimensions[dim] for dim in rule.dims])

    def add(self, choice: Choice) -> None:
        """Add a value that only some specs name: a GPU, a kernel, a driver release."""
        self._number(choice)
        for rule in self.rules:
            if choice.dim in rule.dims and all(dim in self.dimensions for dim in rule.dims):
                self._forbid(
                    rule,
                    [[choice] if dim == choice.dim else self.dimensions[dim] for dim in rule.dims],
                )

    def possible(
        self,
        wishes: Iterable[Wish],
        *,
        values: Iterable[Choice] = (),
        without: Iterable[str] = (),
        rules: Iterable[str] | None = None,
    ) -> bool:
        """Return True when the wishes, and these values, can stand together.

        Args:
            wishes: Wishes that count.
            values: Values that must be taken.
            without: Codes of rules that do not count.
            rules: Codes of the only rules that count; None: all of them.
        """
        return bool(self._solver.solve(assumptions=self._assume(wishes, values, without, rules)))

    def smallest_conflicts(
        self, wishes: Sequence[Wish], fixed: Sequence[Wish] = (), without: Iterable[str] = ()
    ) -> list[tuple[Wish, ...]]:
        """Return the smallest sets of wishes that cannot stand together, smallest first.

        All sets of up to `SMALL` wishes are found; only where there is none, one larger is.
        Wishes in `fixed` count always and are never part of a set.
        """
        without = tuple(without)
        found: list[tuple[Wish, ...]] = []
        for count in range(SMALL + 1):
            for some in itertools.combinations(wishes, count):
                if any(set(known) <= set(some) for known in found):
                    continue
                if not self.possible((*some, *fixed), without=without):
                    found.append(some)
        if found:
            return found
        on = [self._rules[code] for code in self._rules if code not in without]
        numbers = self._smallest(
            [self._wish(wish) for wish in wishes],
            [*on, *(self._wish(wish) for wish in fixed)],
            (*wishes, *fixed),
        )
        by_number = {self._wish(wish): wish for wish in wishes}
        return [tuple(by_number[number] for number in numbers)] if numbers else []

    def smallest_reasons(
        self, wishes: Sequence[Wish], without: Iterable[str] = ()
    ) -> list[tuple[str, ...]]:
        """Return the smallest sets of rules that make these wishes impossible together.

        Every rule that suffices alone is found; only where there is none, one set of several.
        Rules that only say what belongs where count always, and are named only where they suffice.
        """
        without = tuple(without)
        codes = [code for code in self._rules if code not in without]
        background = [c for c in codes if any(r.background for r in self.rules if r.code == c)]
        if not self.possible(wishes, rules=background):
            return [tuple(background)]
        codes = [code for code in codes if code not in background]
        alone = [c for c in codes if not self.possible(wishes, rules=[*background, c])]
        if alone:
            return [(code,) for code in alone]
        numbers = self._smallest(
            [self._rules[code] for code in codes],
            [*(self._wish(wish) for wish in wishes), *(self._rules[c] for c in background)],
            wishes,
        )
        by_number = {self._rules[code]: code for code in codes}
        return [tuple(by_number[number] for number in numbers)]

    def admitted(self, wish: Wish) -> list[Choice]:
        """Return the values that answer a wish, best first."""
        return [c for c in self.dimensions.get(wish.dim, ()) if wish.admits(c)]

    def _smallest(
        self, soft: Sequence[int], hard: Sequence[int], wishes: Iterable[Wish]
    ) -> list[int]:
        # A value that no wish admits is never demanded, so what forbids it does not matter.
        matters = {self._choices[c] for wish in wishes for c in self.admitted(wish)}
        matters |= {*self._rules.values(), *soft, *hard}
        formula = WCNF()
        formula.extend([c for c in self._clauses if all(abs(n) in matters for n in c)])
        formula.extend([[number] for number in hard])
        for number in soft:
            formula.append([number], weight=1)
        with OptUx(formula, unsorted=True) as search:
            found = search.compute()
        return [soft[index - 1] for index in sorted(found or ())]

    def _assume(
        self,
        wishes: Iterable[Wish],
        values: Iterable[Choice],
        without: Iterable[str],
        rules: Iterable[str] | None,
    ) -> list[int]:
        off = set(without)
        on = set(self._rules if rules is None else rules) - off
        assumed = [self._rules[code] for code in self._rules if code in on]
        assumed += [self._wish(wish) for wish in wishes]
        assumed += [self._number(choice) for choice in values]
        return assumed

    def _wish(self, wish: Wish) -> int:
        number = self._wishes.get(wish.slot)
        if number is None:
            number = self._wishes[wish.slot] = self._new()
            self._clause([-number, *(self._choices[c] for c in self.admitted(wish))])
        return number

    def _number(self, choice: Choice) -> int:
        number = self._choices.get(choice)
        if number is None:
            number = self._choices[choice] = self._new()
            self.dimensions.setdefault(choice.dim, []).append(choice)
        return number

    def _forbid(self, rule: Rule, domains: list[list[Choice]]) -> None:
        off = -self._rules[rule.code]
        for combination in itertools.product(*domains):
            if rule.clashes(*combination):
                self._clause([off, *(-self._choices[c] for c in combination)])

    def _clause(self, clause: list[int]) -> None:
        self._clauses.append(clause)
        self._solver.add_clause(clause)

    def _new(self) -> int:
        self._last += 1
        return self._last


def _codes(rules: Sequence[Rule]) -> list[str]:
    return list(dict.fromkeys(rule.code for rule in rules))
