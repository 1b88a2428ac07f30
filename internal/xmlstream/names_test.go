package xmlstream

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// The tables of names are those of encoding/xml, for every character.
func TestNameLen_asEncodingXML(t *testing.T) {
	accepts := func(name string) bool {
		d := xml.NewDecoder(strings.NewReader("<" + name + "/>"))
		for {
			if _, err := d.Token(); err != nil {
				return err == io.EOF
			}
		}
	}
	for c := rune(0); c <= 0x107FF; c++ {
		if !utf8.ValidRune(c) || strings.ContainsRune(" \t\r\n/>=!?", c) {
			continue // no name, but no fault either
		}
		for _, name := range []string{string(c), "a" + string(c)} {
			if got, want := nameLen([]byte(name)) == len(name), accepts(name); got != want {
				t.Fatalf("%U in %q: %v, want %v", c, name, got, want)
			}
		}
	}
}
