"""`exchange completion bash|zsh|fish`: what a shell proposes when TAB is pressed.

Each script is made from the command's own parser, so it can't be behind it, and holds everything,
so that nothing has to be started at a TAB. All three work alike: the words so far are walked along
the tree of commands, and what may follow there is proposed; after an option with a value, what that
value may be: its words, a file, or nothing.
"""

import argparse
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

SHELLS = ("bash", "zsh", "fish")
FILES = {"FILE", "DIR"}  # metavars of what is a path


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command, by its longest name."""

    name: str
    meaning: str
    takes_value: bool
    values: tuple[str, ...]
    is_file: bool


@dataclass(frozen=True, slots=True)
class Node:
    """A command; `at` are the words that lead there, each after a blank."""

    at: str
    options: tuple[Option, ...]
    words: dict[str, str] = field(default_factory=dict)
    """What may stand here other than an option, with its meaning: commands, or fixed values."""
    takes_file: bool = False


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """What the shell has to read; `parser` is that of the whole program."""
    makers = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    return "\n".join(makers[shell](parser.prog, list(_nodes("", parser)))) + "\n"


def _nodes(at: str, parser: argparse.ArgumentParser) -> Iterator[Node]:
    """A command, then those below it."""
    options: list[Option] = []
    words: dict[str, str] = {}
    takes_file = False
    below: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            words |= _meanings(action)
            below |= action.choices
        elif action.option_strings:
            options.append(_option(parser, action))
        else:
            words |= dict.fromkeys(map(str, action.choices or ()), action.dest)
            takes_file |= action.metavar in FILES
    yield Node(at, tuple(options), words, takes_file)
    for name, command in below.items():
        yield from _nodes(f"{at} {name}", command)


def _meanings(commands: "argparse._SubParsersAction") -> dict[str, str]:  # type: ignore[type-arg]
    helps = {action.dest: action.help or "" for action in commands._choices_actions}
    return {name: helps.get(name, "") for name in commands.choices}


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> Option:
    meaning = parser._get_formatter()._expand_help(action) if action.help else ""
    return Option(
        max(action.option_strings, key=len),
        meaning,
        takes_value=action.nargs != 0,
        values=tuple(map(str, action.choices or vars(action).get("words", ()))),
        is_file=action.metavar in FILES,
    )


def _bash(program: str, nodes: list[Node]) -> Iterator[str]:
    yield f"# bash completion of {program}: source this, or put it where bash-completion looks."
    yield f"_{program}() {{"
    yield '    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} at="" i'
    # Of `--option=value` bash makes three words.
    yield "    [[ $previous == = ]] && previous=${COMP_WORDS[COMP_CWORD-2]}"
    yield '    [[ $word == = ]] && word=""'
    yield "    for ((i = 1; i < COMP_CWORD; i++)); do"
    yield '        case "$at ${COMP_WORDS[i]}" in'
    yield f'            {_pattern(nodes)}) at="$at ${{COMP_WORDS[i]}}" ;;'
    yield "        esac"
    yield "    done"
    yield '    COMPREPLY=() && case "$at$previous" in'
    files = 'compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$word")'
    for node in nodes:
        for option in node.options:
            if option.takes_value:
                then = files if option.is_file else _compgen(option.values)
                yield f"        {shlex.quote(f'{node.at}{option.name}')}) {then} ;;"
    yield '        *) case "$at" in'
    for node in nodes:
        then = _compgen([*node.words, *(option.name for option in node.options)])
        if node.takes_file:
            then = f"if [[ $word == -* ]]; then {then}; else {files}; fi"
        yield f"            {shlex.quote(node.at)}) {then} ;;"
    yield "        esac ;;"
    yield "    esac"
    yield "}"
    yield f"complete -F _{program} {program}"


def _compgen(words: Iterable[str]) -> str:
    joined = " ".join(words)
    return f'COMPREPLY=($(compgen -W {shlex.quote(joined)} -- "$word"))' if joined else ":"


def _zsh(program: str, nodes: list[Node]) -> Iterator[str]:
    yield f"#compdef {program}"
    yield f"# zsh completion of {program}: source this file after compinit, or put it into $fpath."
    yield f"_{program}() {{"
    yield '    local at="" previous=$words[CURRENT-1] i'
    yield "    local -a entries"
    yield "    [[ $words[CURRENT] == --*=* ]] && previous=${words[CURRENT]%%=*} && compset -P '*='"
    yield "    for ((i = 2; i < CURRENT; i++)); do"
    yield '        case "$at $words[i]" in'
    yield f'            {_pattern(nodes)}) at="$at $words[i]" ;;'
    yield "        esac"
    yield "    done"
    yield '    case "$at$previous" in'
    for node in nodes:
        for option in node.options:
            if option.takes_value:
                then = "_files" if option.is_file else _described(dict.fromkeys(option.values, ""))
                yield f"        {shlex.quote(f'{node.at}{option.name}')}) {then} ;;"
    yield '        *) case "$at" in'
    for node in nodes:
        entries = node.words | {option.name: option.meaning for option in node.options}
        then = _described(entries) + ("; _files" if node.takes_file else "")
        yield f"            {shlex.quote(node.at)}) {then} ;;"
    yield "        esac ;;"
    yield "    esac"
    yield "}"
    yield f'if [[ "$funcstack[1]" == "_{program}" ]]; then'
    yield f'    _{program} "$@"'
    yield "else"
    yield f"    compdef _{program} {program}"
    yield "fi"


def _described(entries: dict[str, str]) -> str:
    if not entries:
        return ":"
    quoted = (
        shlex.quote(name.replace(":", "\\:") + (f":{meaning}" if meaning else ""))
        for name, meaning in entries.items()
    )
    return f"entries=({' '.join(quoted)}); _describe argument entries"


def _fish(program: str, nodes: list[Node]) -> Iterator[str]:
    yield f"# fish completion of {program}: source this file, or put it into fish/completions."
    yield f"function __{program}_at"
    yield "    set -l at ''"
    yield "    for word in (commandline -opc)[2..]"
    known = " ".join(_fish_quoted(node.at) for node in nodes[1:])
    yield f'        contains -- "$at $word" {known}; and set at "$at $word"'
    yield "    end"
    yield '    test "$at" = "$argv[1]"'
    yield "end"
    yield f"complete -c {program} -f"
    for node in nodes:
        condition = _fish_quoted(f"__{program}_at {_fish_quoted(node.at)}")
        begin = f"complete -c {program} -n {condition}"
        for word, meaning in node.words.items():
            yield f"{begin} -a {_fish_quoted(word)} -d {_fish_quoted(meaning)}"
        if node.takes_file:
            yield f"{begin} -F"
        for option in node.options:
            told = f"{begin} -l {option.name.lstrip('-')} -d {_fish_quoted(option.meaning)}"
            if option.is_file:
                told += " -r -F"
            elif option.takes_value:
                told += f" -x -a {_fish_quoted(' '.join(option.values))}"
            yield told


def _fish_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _pattern(nodes: list[Node]) -> str:
    """All places below the first, as a pattern of `case`."""
    return "|".join(shlex.quote(node.at) for node in nodes[1:])
