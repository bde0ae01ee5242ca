# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2207 # words of mw's have no blanks
# Bash completion for mw. Commands and options are what --help says, so this knows those of the program that is there.

_mw_commands() { "$1" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z]\+\) .*/\1/p'; }
_mw_actions() { "$1" "$2" --help 2>/dev/null | sed -n "/^ *[Uu]sage:/,/^$/s/.*mw $2 \([a-z]\+\).*/\1/p;/^  [a-z]\+ /s/^  \([a-z]\+\) .*/\1/p" | sort -u; }
_mw_options() { "$@" --help 2>/dev/null | grep -oE -- '^ +(-[a-zA-Z], )?--[a-z][a-z0-9-]*|\[--[a-z][a-z0-9-]*' | grep -oE -- '--[a-z0-9-]+'; }
_mw_names() { "$1" ps --json 2>/dev/null | sed -n 's/.*"name": *"\([^"]*\)".*/\1/p'; }

# What an option's value may be, by the words in its line of --help: a|b|c in small letters.
_mw_values() {
	"$1" "$2" --help 2>/dev/null | grep -oE -- "(^|[ [,])$3 [a-z]+(\|[a-z]+)+" | sed 's/.* //;s/|/ /g;q'
}

_mw() {
	local mw=${COMP_WORDS[0]} command=${COMP_WORDS[1]} cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} i values

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		COMPREPLY=($(compgen -W "$(_mw_commands "$mw") --help --version" -- "$cur"))
		return
	fi
	if [[ $command == run ]]; then
		# Behind the options is another command, with a completion of its own; _command_offset is bash-completion's.
		for ((i = 2; i < COMP_CWORD; i++)); do
			if [[ ${COMP_WORDS[i]} == -- ]]; then
				if declare -F _command_offset >/dev/null; then _command_offset $((i + 1)); else COMPREPLY=($(compgen -c -- "$cur")); fi
				return
			fi
		done
	fi
	if [[ $before == --* ]]; then
		values=$(_mw_values "$mw" "$command" "$before")
		if [[ $values ]]; then
			COMPREPLY=($(compgen -W "$values" -- "$cur"))
			return
		fi
	fi
	case $cur in
	-*)
		values=$(_mw_options "$mw" "$command")
		# these two have a --help of their own
		[[ $command == xen && ${COMP_WORDS[2]} =~ ^(broker|serve)$ ]] && values=$(_mw_options "$mw" xen "${COMP_WORDS[2]}")
		COMPREPLY=($(compgen -W "$values" -- "$cur"))
		;;
	*)
		case $command in
		ins | xen) ((COMP_CWORD == 2)) && values=$(_mw_actions "$mw" "$command") || values=$(_mw_names "$mw") ;;
		run) values=$(compgen -c -- "$cur") ;;
		*) values=$(_mw_names "$mw") ;;
		esac
		COMPREPLY=($(compgen -W "$values" -- "$cur"))
		;;
	esac
}
complete -F _mw mw
