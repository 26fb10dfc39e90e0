"""The conformance kit: whether a plugin, or one method, keeps the contract of docs/plugins.md."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from condense.errors import PluginError, unknown_name
from condense.recipe.method import Method
from condense.recipe.registry import HOST, KINDS, Registry, default_registry
from condense.recipe.resolve import configure
from condense.recipe.sources import parts_of
from condense.recipe.specs import Spec
from condense.runtime import Reporter, SilentReporter, make_runtime, process_settings
from condense.testing.declared import changed_by_saving, count_of_forms, lost_option, refused_form
from condense.testing.elsewhere import import_cost
from condense.testing.findings import CHECKS, Finding, Report, State
from condense.testing.offered import CHECKS_OF, KIND_OF, Offered, findings_of_offers, offered_by
from condense.testing.subjects import COLOUR, Subject, subject_of, subjects_of, with_offers
from condense.testing.trial import Trial
from condense.testing.tried import OF_TRIALS, findings_of
from condense.text import counted

# How many seconds the import of a plugin may take.
_LONGEST = 1.0


def check_plugin(*names: str, checks: Collection[str] = (), registry: Registry | None = None) -> Report:
    """Examine plugins as `examine_plugin` does. Raises AssertionError, which lists what failed, if a check fails."""
    return _passing(examine_plugin(*names, checks=checks, registry=registry))


def check_method(name: str, *, checks: Collection[str] = (), registry: Registry | None = None) -> Report:
    """Examine a method as `examine_method` does. Raises AssertionError, which lists what failed, if a check fails."""
    return _passing(examine_method(name, checks=checks, registry=registry))


def examine_plugin(
    *names: str,
    checks: Collection[str] = (),
    registry: Registry | None = None,
    reporter: Reporter | None = None,
) -> Report:
    """Try a plugin in short runs on made-up images, and return what each check of `CHECKS` found.

    Its methods are tried, and its losses, initializers, parametrizations, networks and evaluators that none of them
    uses. Its datasets, protocols, networks, parametrizations and executors are looked at by themselves. That takes
    some seconds for each and for every other process, on the CPU. It leaves nothing behind.

    names: of one plugin or several, as `condense plugins` lists them.
    checks: names of `CHECKS`; by default all of them.
    registry: what plugins offer; by default the installed ones.
    reporter: told after each finding.

    Raises UnknownNameError for an unknown plugin or check, and PluginError for a plugin that was set aside.
    """
    registry = registry or default_registry()
    known = with_offers(registry)
    subjects: list[Subject] = []
    made: list[Method] = []
    specs: list[Spec] = []
    for name in names:
        _check_works(name, registry)
        tried, recipes = subjects_of(name, known)
        subjects, made = [*subjects, *tried], [*made, *recipes]
        own = [offer for kind, _ in KINDS.values() for offer in registry.offers(kind) if offer.plugin == name]
        specs += [offer.spec for offer in own if isinstance(offer.spec, Spec)]
    title = f"plugin{'s' * (len(names) > 1)} {' and '.join(map(repr, names))}"
    offers = offered_by(names, registry)
    return _examined(title, names, specs, subjects, offers, with_offers(registry, made), checks, reporter)


def _check_works(plugin: str, registry: Registry) -> None:
    status = next((status for status in registry.plugins if status.name == plugin), None)
    if status is None:
        raise unknown_name("plugin", plugin, (status.name for status in registry.plugins))
    if status.problem:
        raise PluginError(f"plugin {plugin!r} was set aside: {status.problem}")


def examine_method(
    name: str,
    *,
    checks: Collection[str] = (),
    registry: Registry | None = None,
    reporter: Reporter | None = None,
) -> Report:
    """Try one method as `examine_plugin` tries a plugin, with the components that it uses, whoever offers them.

    Raises UnknownNameError for an unknown method or check.
    """
    known = with_offers(registry or default_registry())
    known.method(name)
    parts = parts_of(configure(known, method=name, dataset=COLOUR, alone=False).recipe)
    plugins = dict.fromkeys(known.plugin_of(kind, part) for kind, part in parts)
    specs = [known.find(kind, part) for kind, part in parts if kind not in ("method", "dataset", "model")]
    own = [plugin for plugin in plugins if plugin != HOST]
    used = (Offered(kind=kind, name=part.partition(":")[0]) for kind, part in parts)
    offers = [one for one in used if one.kind in CHECKS_OF and known.plugin_of(one.kind, one.name) in own]
    return _examined(f"method {name!r}", own, specs, [subject_of(name)], offers, known, checks, reporter)


def _examined(
    title: str,
    plugins: Sequence[str],
    specs: Sequence[Spec],
    subjects: Sequence[Subject],
    offers: Sequence[Offered],
    registry: Registry,
    checks: Collection[str],
    reporter: Reporter | None,
) -> Report:
    for check in checks:
        if check not in CHECKS:
            raise unknown_name("check", check, CHECKS)
    wanted = [check for check in CHECKS if check in (checks or CHECKS)]
    # Of each check as many findings as it has subjects.
    of_all = {"import": len(plugins), "options": 1}
    of_all |= {check: sum(offer.kind == kind for offer in offers) for check, kind in KIND_OF.items()}
    total = sum(of_all.get(check, len(subjects)) for check in wanted)
    told = reporter or SilentReporter()
    told.start("check", f"{title}, {counted(len(wanted), 'check')}", total, "finding")
    found: list[Finding] = []
    for finding in _findings(title, plugins, specs, subjects, offers, registry, wanted):
        found.append(finding)
        told.advance(1)
    told.finish()
    for check in dict.fromkeys(checks):
        if not of_all.get(check, len(subjects)):
            nothing = (
                f"it offers no {KIND_OF[check]}" if check in KIND_OF else "nothing of it is tried in runs"
            )
            found.append(_finding(check, title, "skipped", nothing))
    return Report(subject=title, findings=tuple(found))


def _findings(
    title: str,
    plugins: Sequence[str],
    specs: Sequence[Spec],
    subjects: Sequence[Subject],
    offers: Sequence[Offered],
    registry: Registry,
    wanted: Sequence[str],
) -> Iterator[Finding]:
    """Yield what each of the wanted checks finds, in their order."""
    if "import" in wanted:
        yield from (_import(plugin, registry) for plugin in plugins)
    if "options" in wanted:
        yield _options(title, specs, subjects, registry)
    if "settings" in wanted:
        yield from (_settings(subject, registry) for subject in subjects)
    if any(check in OF_TRIALS or check in KIND_OF for check in wanted):
        scratch = tempfile.TemporaryDirectory(prefix="condense-check-")
        with scratch as folder, process_settings(make_runtime("cpu", "fp32")):
            trials = [Trial(subject, registry, Path(folder)) for subject in subjects]
            yield from findings_of(trials, wanted, registry)
            yield from findings_of_offers(offers, wanted, registry, Path(folder))


def _import(plugin: str, registry: Registry) -> Finding:
    """Return what the import of a plugin costs every command. A plugin of one file costs only those that name it."""
    status = next(status for status in registry.plugins if status.name == plugin)
    cost = import_cost(status)
    torch = "torch" in cost["heavy"]
    if cost["seconds"] > _LONGEST and not torch:
        cost = min(cost, import_cost(status), key=lambda one: one["seconds"])  # The disk may have been busy.
    took, failed = f"{cost['seconds']:.2f} s", True
    if cost["error"]:
        text = f"{status.module} cannot be imported in another process: {cost['error']}"
    elif torch and not status.of_file:
        text = f"{status.module} imports torch, {took} of every command; import it where `build` points to"
    else:
        failed = cost["seconds"] > _LONGEST and not torch
        text = f"it took {took}" + (", which every command waits for" if failed else ", with torch" * torch)
    return _finding("import", f"plugin {plugin!r}", "failed" if failed else "passed", text)


def _options(title: str, specs: Sequence[Spec], subjects: Sequence[Subject], registry: Registry) -> Finding:
    lost = lost_option(specs)
    for subject in subjects:
        if not lost and changed_by_saving(subject.method, registry):
            lost = f"what run.json holds of the settings of {subject.title} is read as other settings"
    count = sum(len(dataclasses.fields(spec.options)) for spec in specs)
    text = f"{counted(count, 'option')} of {counted(len(specs), 'component')} came back"
    return _finding("options", title, "failed" if lost else "passed", lost or text)


def _settings(subject: Subject, registry: Registry) -> Finding:
    refused = refused_form(subject.method, registry)
    text = f"it resolves in {counted(count_of_forms(subject.method, registry), 'form')}"
    return _finding("settings", subject.title, "failed" if refused else "passed", refused or text)


def _finding(check: str, subject: str, state: State, text: str) -> Finding:
    return Finding(check=check, subject=subject, state=state, text=text)


def _passing(report: Report) -> Report:
    if report.failed:
        raise AssertionError(report.text())
    return report
