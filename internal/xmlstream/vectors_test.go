package xmlstream

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// vectorCase is what bears on the bytes of a stream of a recorded case; the
// format is described in testdata/vectors/README.md.
type vectorCase struct {
	ID, Title string
	Exchange  []vectorStep
	Expect    struct{ Steps []vectorOutcome }
	Also      []vectorOutcome `json:"also_acceptable"`
}

type vectorStep struct {
	N          int
	Do         string
	Open       *bool
	Data, Sent string
	DataHex    string `json:"data_hex"`
}

type vectorOutcome struct {
	Step      int
	Kind      string
	Condition any // a string or a list of them
}

func loadStreamVectors(t *testing.T) []vectorCase {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../shared/vectors", "stream.json"))
	if errors.Is(err, os.ErrNotExist) {
		b, err = os.ReadFile(filepath.Join("../../testdata/vectors", "stream.json"))
	}
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []vectorCase }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	return file.Cases
}

// ours are the stream errors that a Reader can give; the others are for the
// server to find in what it returns.
var ours = []string{"not-well-formed", "restricted-xml", "unsupported-encoding", "bad-namespace-prefix", "policy-violation"}

// bytesOf returns what a step sends on the stream.
func bytesOf(t *testing.T, s vectorStep) string {
	switch {
	case s.DataHex != "":
		b, err := hex.DecodeString(s.DataHex)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	case s.Sent != "":
		return s.Sent
	case s.Data == "" && s.Do == "connect" && (s.Open == nil || *s.Open):
		return clientHeader
	}
	return s.Data
}

// wanted returns the conditions that may answer step n, "" for none of ours.
func (c vectorCase) wanted(n int) (conditions []string, kind string) {
	add := func(o vectorOutcome) {
		if o.Step != n {
			return
		}
		given := []string{""}
		switch value := o.Condition.(type) {
		case string:
			given = []string{value}
		case []any:
			given = nil
			for _, one := range value {
				given = append(given, one.(string))
			}
		}
		for _, one := range given {
			if o.Kind != "stream-error" || !slices.Contains(ours, one) {
				one = ""
			}
			conditions = append(conditions, one)
		}
	}
	for _, o := range c.Expect.Steps {
		if o.Step == n {
			kind = o.Kind
		}
		add(o)
	}
	for _, o := range c.Also {
		add(o)
	}
	return conditions, kind
}

// Every recorded exchange about the stream gives the stream error that it
// gave in the original, or one as good, or none, at once.
func TestReader_vectors(t *testing.T) {
	tried := 0
	for _, c := range loadStreamVectors(t) {
		if c.ID < "ST-018" || c.ID > "ST-105" {
			continue
		}
		for name, size := range chunkings(1) {
			t.Run(c.ID+"/"+name, func(t *testing.T) {
				src := &feed{size: size}
				r := NewReader(src, beforeLogin)
				defer r.Close()
				header := true
				for _, s := range c.Exchange {
					src.pending = bytesOf(t, s)
					if src.pending == "" {
						continue
					}
					tried++
					var err error
					if header {
						_, err = r.Header()
					} else {
						_, err = r.Next()
					}
					want, kind := c.wanted(s.N)
					if got := conditionOf(err); !slices.Contains(want, got) {
						t.Fatalf("%s, step %d: got %v, want one of %q", c.Title, s.N, err, want)
					}
					switch {
					case conditionOf(err) != "":
						return // what was seen after it is about the close
					case kind == "no-reply" && err != errSilent,
						kind == "closed" && err == errSilent,
						err != nil && err != errSilent && err != io.EOF:
						t.Fatalf("%s, step %d (%s): %v", c.Title, s.N, kind, err)
					}
					header = s.Do == "auth" && kind == "success"
					if s.Do == "bind" {
						r.SetLimits(afterLogin, true)
					}
				}
			})
		}
	}
	if tried < 300 {
		t.Errorf("only %d steps were tried", tried)
	}
}
