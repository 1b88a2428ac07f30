package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// CompletionCmd prints what makes a shell complete our command line. It is made
// of the same model that parses the command line, so it knows every flag.
type CompletionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown below the command's own.
func (*CompletionCmd) Help() string {
	return "For bash: source <(gatehouse completion bash). For fish: gatehouse completion fish | source. " +
		"For zsh, put it into a file named _gatehouse in a directory of $fpath. The Debian package has done all of that."
}

// Run implements the command.
func (cmd *CompletionCmd) Run(g *globals, k *kong.Kong) error {
	print := map[string]func(io.Writer, *kong.Node){"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	print[cmd.Shell](g.Stdout, k.Model.Node)
	return nil
}

// below returns a command and all commands in it, without those that are hidden.
func below(n *kong.Node) []*kong.Node {
	list := []*kong.Node{n}
	for _, child := range shown(n) {
		list = append(list, below(child)...)
	}
	return list
}

func shown(n *kong.Node) []*kong.Node {
	return slices.DeleteFunc(slices.Clone(n.Children), func(c *kong.Node) bool { return c.Hidden })
}

// ownFlags returns the flags that a command has for itself.
func ownFlags(n *kong.Node) []*kong.Flag {
	return slices.DeleteFunc(slices.Clone(n.Flags), func(f *kong.Flag) bool { return f.Hidden })
}

// flagsOf returns all flags of a command: --help is the program's, but every
// command takes it.
func flagsOf(n *kong.Node) []*kong.Flag {
	flags := ownFlags(n)
	if n.Parent == nil {
		return flags
	}
	for n.Parent != nil {
		n = n.Parent
	}
	return append(flags, slices.DeleteFunc(ownFlags(n), func(f *kong.Flag) bool { return f.Name != "help" })...)
}

// words returns a flag as it can be written.
func words(f *kong.Flag) []string {
	list := []string{"--" + f.Name}
	if f.Short != 0 {
		list = append(list, "-"+string(f.Short))
	}
	if f.Tag.Negatable != "" {
		list = append(list, "--no-"+f.Name)
	}
	return list
}

func takesValue(f *kong.Flag) bool { return !f.IsBool() && !f.IsCounter() }

// isFile tells whether a flag names a file.
func isFile(f *kong.Flag) bool { return f.PlaceHolder == "FILE" || f.PlaceHolder == "PATH" }

// choices returns the values that a flag or an argument can have, if they can be
// listed.
func choices(v *kong.Value) []string {
	return slices.DeleteFunc(v.EnumSlice(), func(s string) bool { return s == "" })
}

// commandPath returns the names of a command, without the program's.
func commandPath(n *kong.Node) []string {
	if n.Parent == nil {
		return nil
	}
	return append(commandPath(n.Parent), n.Name)
}

func bashCompletion(w io.Writer, root *kong.Node) {
	var steps, offers, values, skip strings.Builder
	for _, n := range below(root) {
		path := strings.Join(commandPath(n), " ")
		var list []string
		for _, child := range shown(n) {
			list = append(list, child.Name)
			fmt.Fprintf(&steps, "\t\t%q) path=%q ;;\n", path+"|"+child.Name, strings.Join(commandPath(child), " "))
		}
		for _, arg := range n.Positional {
			list = append(list, choices(arg)...)
		}
		for _, f := range flagsOf(n) {
			list = append(list, words(f)...)
			if !takesValue(f) {
				continue
			}
			for _, word := range words(f) {
				fmt.Fprintf(&skip, "\t\t%q) ((i++)) ;;\n", path+"|"+word)
				reply := `COMPREPLY=()`
				if isFile(f) {
					reply = `IFS=$'\n' COMPREPLY=($(compgen -f -- "$cur")); compopt -o filenames 2>/dev/null`
				} else if list := choices(f.Value); len(list) > 0 {
					reply = fmt.Sprintf(`COMPREPLY=($(compgen -W %q -- "$cur"))`, strings.Join(list, " "))
				}
				fmt.Fprintf(&values, "\t%q) %s; return ;;\n", path+"|"+word, reply)
			}
		}
		fmt.Fprintf(&offers, "\t%q) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n", path, strings.Join(list, " "))
	}
	fmt.Fprintf(w, `# bash completion for gatehouse
_gatehouse() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path= i IFS=$' \t\n'
	# bash takes --flag=value for three words.
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case "$path|${COMP_WORDS[i]}" in
%s%s		esac
	done
	COMPREPLY=()
	case "$path|$prev" in
%s	esac
	case "$path" in
%s	esac
}
complete -F _gatehouse gatehouse
`, &steps, &skip, &values, &offers)
}

func zshCompletion(w io.Writer, root *kong.Node) {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	escape := strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`, `:`, `\:`)
	fmt.Fprint(w, "#compdef gatehouse\n")
	for _, n := range below(root) {
		fmt.Fprintf(w, "\n%s() {\n", zshFunction(n))
		var specs []string
		for _, f := range flagsOf(n) {
			value := ""
			switch list := choices(f.Value); {
			case !takesValue(f):
			case isFile(f):
				value = ":file:_files"
			case len(list) > 0:
				value = ":value:(" + strings.Join(list, " ") + ")"
			default:
				value = ":" + escape.Replace(strings.ToLower(f.FormatPlaceHolder())) + ": "
			}
			for _, word := range words(f) {
				if value != "" && strings.HasPrefix(word, "--") {
					word += "=" // both --flag value and --flag=value
				}
				specs = append(specs, quote(word+"["+escape.Replace(f.Help)+"]"+value))
			}
		}
		children := shown(n)
		if len(children) > 0 {
			specs = append(specs, "'1: :->command'", "'*:: :->rest'")
		}
		for _, arg := range n.Positional {
			action := " "
			if list := choices(arg); len(list) > 0 {
				action = "(" + strings.Join(list, " ") + ")"
			}
			specs = append(specs, quote(":"+escape.Replace(arg.Name)+":"+action))
		}
		if len(children) == 0 {
			fmt.Fprintf(w, "\t_arguments \\\n\t\t%s\n}\n", strings.Join(specs, " \\\n\t\t"))
			continue
		}
		fmt.Fprintf(w, "\tlocal state line\n\t_arguments -C \\\n\t\t%s\n\tcase $state in\n\tcommand)\n\t\tlocal -a commands=(\n", strings.Join(specs, " \\\n\t\t"))
		for _, child := range children {
			fmt.Fprintf(w, "\t\t\t%s\n", quote(escape.Replace(child.Name)+":"+child.Help))
		}
		fmt.Fprint(w, "\t\t)\n\t\t_describe command commands ;;\n\trest)\n\t\tcase $line[1] in\n")
		for _, child := range children {
			fmt.Fprintf(w, "\t\t%s) %s ;;\n", child.Name, zshFunction(child))
		}
		fmt.Fprint(w, "\t\tesac ;;\n\tesac\n}\n")
	}
	fmt.Fprint(w, "\n_gatehouse \"$@\"\n")
}

func zshFunction(n *kong.Node) string {
	return strings.Join(append([]string{"_gatehouse"}, commandPath(n)...), "_")
}

func fishCompletion(w io.Writer, root *kong.Node) {
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
	}
	fmt.Fprint(w, "# fish completion for gatehouse\ncomplete -c gatehouse -f\n")
	for _, n := range below(root) {
		var conditions []string
		for _, name := range commandPath(n) {
			conditions = append(conditions, "__fish_seen_subcommand_from "+name)
		}
		children := shown(n)
		if n.Parent == nil {
			conditions = append(conditions, "__fish_use_subcommand")
		} else if len(children) > 0 {
			var names []string
			for _, child := range children {
				names = append(names, child.Name)
			}
			conditions = append(conditions, "not __fish_seen_subcommand_from "+strings.Join(names, " "))
		}
		begin := "complete -c gatehouse -n " + quote(strings.Join(conditions, "; and "))
		for _, child := range children {
			fmt.Fprintf(w, "%s -a %s -d %s\n", begin, child.Name, quote(child.Help))
		}
		for _, arg := range n.Positional {
			if list := choices(arg); len(list) > 0 {
				fmt.Fprintf(w, "%s -a %s\n", begin, quote(strings.Join(list, " ")))
			}
		}
		for _, f := range flagsOf(n) {
			value := ""
			switch list := choices(f.Value); {
			case !takesValue(f):
			case isFile(f):
				value = " -r -F"
			case len(list) > 0:
				value = " -x -a " + quote(strings.Join(list, " "))
			default:
				value = " -x"
			}
			for _, word := range words(f) {
				kind, name := "-l", strings.TrimPrefix(word, "--")
				if !strings.HasPrefix(word, "--") {
					kind, name = "-s", strings.TrimPrefix(word, "-")
				}
				fmt.Fprintf(w, "%s %s %s%s -d %s\n", begin, kind, name, value, quote(f.Help))
			}
		}
	}
}
