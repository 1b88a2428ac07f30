package saslmech

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// loadVectors reads the cases of one file of recordings of the original modules:
// from shared/vectors beside the repository, or from the copy in testdata.
func loadVectors[T any](tb testing.TB, name string) []T {
	tb.Helper()
	root := ".."
	data, err := os.ReadFile(filepath.Join(root, "..", "shared", "vectors", name))
	if err != nil {
		data, err = os.ReadFile(filepath.Join(root, "testdata", "vectors", name))
	}
	if err != nil {
		tb.Fatal(err)
	}
	var file struct{ Cases []T }
	if err := json.Unmarshal(data, &file); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	if len(file.Cases) == 0 {
		tb.Fatalf("%s: no cases", name)
	}
	return file.Cases
}
