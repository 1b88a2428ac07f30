package main

import (
	_ "embed"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"

	"gatehouse.im/gatehouse/config"
)

// The pages without what is made from the program itself.
var (
	//go:embed man/gatehouse.8
	pageProgram string
	//go:embed man/gatehouse.cfg.5
	pageConfig string
)

// ManCmd prints a manual page in mdoc(7), for those who package gatehouse. Its
// lists of commands, flags and options come from the program itself.
type ManCmd struct {
	Section string `arg:"" enum:"5,8" help:"8 is gatehouse(8), 5 is gatehouse.cfg(5)."`
}

// Run implements the command.
func (cmd *ManCmd) Run(g *globals, k *kong.Kong) error {
	page := pageProgram
	if cmd.Section == "5" {
		page = pageConfig
	}
	parsed, err := template.New("page").Funcs(template.FuncMap{
		"synopsis": func() string { return into(manSynopsis, k.Model.Node) },
		"commands": func() string { return into(manCommands, k.Model.Node) },
		"options":  func(global bool) string { return manOptions(global) },
	}).Parse(page)
	if err != nil {
		return err
	}
	return parsed.Execute(g.Stdout, nil)
}

func into(write func(io.Writer, *kong.Node), n *kong.Node) string {
	var b strings.Builder
	write(&b, n)
	return strings.TrimSuffix(b.String(), "\n")
}

func manSynopsis(w io.Writer, root *kong.Node) {
	for _, n := range root.Leaves(true) {
		fmt.Fprintf(w, ".Nm\n.Cm %s\n", strings.Join(commandPath(n), " "))
		for _, arg := range n.Positional {
			if len(choices(arg)) > 0 {
				fmt.Fprintf(w, ".Cm %s\n", strings.Join(choices(arg), " | "))
			}
		}
		if len(ownFlags(n)) > 0 {
			fmt.Fprint(w, ".Op Ar flags\n")
		}
		for _, arg := range n.Positional {
			switch {
			case len(choices(arg)) > 0:
			case arg.Required:
				fmt.Fprintf(w, ".Ar %s\n", arg.Name)
			default:
				fmt.Fprintf(w, ".Op Ar %s\n", arg.Name)
			}
		}
	}
}

func manCommands(w io.Writer, root *kong.Node) {
	for _, n := range root.Leaves(true) {
		fmt.Fprintf(w, ".Ss %s\n%s\n", strings.Join(commandPath(n), " "), roff(n.Help))
		if n.Detail != "" {
			fmt.Fprintf(w, "%s\n", roff(n.Detail))
		}
		flags := ownFlags(n)
		if len(flags)+len(n.Positional) == 0 {
			continue
		}
		fmt.Fprint(w, ".Bl -tag -width Ds\n")
		for _, arg := range n.Positional {
			fmt.Fprintf(w, ".It Ar %s\n%s\n", arg.Name, roff(arg.Help))
		}
		for _, f := range flags {
			var names []string
			for _, word := range words(f) {
				names = append(names, strings.TrimPrefix(word, "-"))
			}
			value := ""
			if takesValue(f) {
				value = " Ar " + f.FormatPlaceHolder()
			}
			fmt.Fprintf(w, ".It Fl %s%s\n%s\n", strings.Join(names, " , "), value, roff(f.Help))
		}
		fmt.Fprint(w, ".El\n")
	}
}

func manOptions(global bool) string {
	var b strings.Builder
	for _, o := range config.Options {
		if o.Global != global {
			continue
		}
		fmt.Fprintf(&b, ".It Va %s Pq %s\n%s\n", o.Name, roff(o.Type), roff(o.Meaning))
		if o.Default != "" {
			fmt.Fprintf(&b, "The default is\n.Li %s .\n", strings.NewReplacer(`"`, `\(dq`, " ", `\ `).Replace(o.Default))
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

var inCode = regexp.MustCompile("`([^`]*)`")

// roff escapes a text of one or more lines for mdoc. What is in backticks becomes
// bold.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, `~`, `\(ti`, `^`, `\(ha`, `'`, `\(aq`).Replace(s)
	s = inCode.ReplaceAllString(s, `\fB$1\fR`)
	s = strings.ReplaceAll(s, ". ", ".\n") // mdoc: new sentence, new line
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
