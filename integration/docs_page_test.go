package integration

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A docPage is README.md, a page of docs/ or that of the Prosody module, cut into what a test needs of it.
type docPage struct {
	path  string // relative to this directory
	text  string
	prose string // the text without its fenced blocks
	steps []docStep
}

// A docStep is a fenced block of a page, or a hidden step: a comment that says what a reader has done already.
//
//	<!-- run: COMMANDS -->             runs shell commands
//	<!-- file: PATH                    writes a file; "#!" at its beginning makes it executable
//	TEXT -->
//	<!-- start: PORT COMMAND -->       starts another server, which takes connections at a port of this machine
//
// A fenced block may have marks, which are comments just before it:
//
//	<!-- file: PATH -->                writes the block to a file
//	<!-- check: TEXT -->               gatehouse check says TEXT about this config
//	<!-- for: SERVER -->               the block is another server's, whom gatehouse check does not know
//	<!-- test: TestName -->            that test, or fuzz target, proves the block
//	<!-- test: none, because WHY -->   nothing does
type docStep struct {
	line  int
	lang  string // of a fenced block; "run", "file" and "start" are hidden steps
	marks []docMark
	text  string
}

type docMark struct{ kind, value string }

// mark returns the value of the first mark of a kind.
func (s docStep) mark(kind string) (string, bool) {
	for _, m := range s.marks {
		if m.kind == kind {
			return m.value, true
		}
	}
	return "", false
}

// docPages reads all pages.
func docPages(t *testing.T) []*docPage {
	t.Helper()
	paths, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	paths = append(paths, "../README.md", "../prosody/README.md")
	if len(paths) < 10 {
		t.Fatalf("only %d pages", len(paths))
	}
	var pages []*docPage
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, readPage(path, string(text)))
	}
	return pages
}

var (
	docComment = regexp.MustCompile(`(?s)^<!-- ([a-z]+): (.*?) ?-->\s*$`)
	docFence   = regexp.MustCompile("^```([a-z]*)\\s*$")
)

func readPage(path, text string) *docPage {
	p := &docPage{path: path, text: text}
	var prose strings.Builder
	var marks []docMark
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i < len(lines); i++ {
		begin := i
		// What belongs to a list is indented.
		indent := lines[i][:len(lines[i])-len(strings.TrimLeft(lines[i], " "))]
		cut := func(i int) string { return strings.TrimPrefix(lines[i], indent) }
		switch line := cut(i); {
		case strings.HasPrefix(line, "<!--"):
			comment := line
			for !strings.Contains(comment, "-->") && i+1 < len(lines) {
				i++
				comment += cut(i)
			}
			m := docComment.FindStringSubmatch(comment)
			if m == nil {
				continue // a remark
			}
			kind, value := m[1], m[2]
			name, body, hidden := strings.Cut(value, "\n")
			switch {
			case kind == "file" && hidden:
				p.steps = append(p.steps, docStep{begin + 1, kind, []docMark{{kind, name}}, body})
			case kind == "run", kind == "start":
				p.steps = append(p.steps, docStep{begin + 1, kind, nil, value})
			default:
				marks = append(marks, docMark{kind, value})
			}
		case docFence.MatchString(line):
			var body strings.Builder
			for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
				body.WriteString(cut(i))
			}
			lang := docFence.FindStringSubmatch(line)[1]
			p.steps = append(p.steps, docStep{begin + 1, lang, marks, body.String()})
			marks = nil
		default:
			if strings.TrimSpace(line) != "" {
				marks = nil
			}
			prose.WriteString(line)
		}
	}
	p.prose = prose.String()
	return p
}
