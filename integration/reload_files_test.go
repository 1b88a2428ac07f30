package integration

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// file is what a path should hold.
type file struct {
	content string
	mode    fs.FileMode
}

// way is one of the ways in which people and programs change a file.
type way struct {
	name  string
	write func(path string, f file) error
}

// Every way can follow every other one on the same path.
var ways = []way{
	{"written in place", writeInPlace},
	{"written in pieces", writeInPieces},
	{"renamed over", renameOver},
	{"swapped with ..data", swapData},
	{"deleted and made again", deleteAndMake},
}

// writeInPlace is what a shell's redirection does.
func writeInPlace(path string, f file) error {
	if err := os.WriteFile(path, []byte(f.content), f.mode); err != nil {
		return err
	}
	return os.Chmod(path, f.mode)
}

// writeInPieces is what a slow copy over the network does: for a while the file is a torso.
func writeInPieces(path string, f file) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, f.mode)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	if err := out.Chmod(f.mode); err != nil {
		return err
	}
	for rest := f.content; rest != ""; {
		n := min(len(rest), len(f.content)/4+1)
		if _, err := out.WriteString(rest[:n]); err != nil {
			return err
		}
		if rest = rest[n:]; rest != "" {
			time.Sleep(15 * time.Millisecond) // it is the pause that is tested
		}
	}
	return out.Close()
}

// renameOver is what editors do, and programs that are careful.
func renameOver(path string, f file) error {
	temporary := filepath.Join(filepath.Dir(path), ".new."+filepath.Base(path))
	if err := writeInPlace(temporary, f); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// swapData is what Kubernetes does with a mounted ConfigMap or Secret: each file is a link to ..data/NAME, ..data is a
// link to a directory, and that link is replaced.
func swapData(path string, f file) error {
	dir, name := filepath.Split(path)
	data := filepath.Join(dir, "..data")
	old, err := os.Readlink(data)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	next, err := os.MkdirTemp(dir, "..gen")
	if err != nil {
		return err
	}
	if err := os.Chmod(next, 0o755); err != nil {
		return err
	}
	if old != "" {
		if err := os.CopyFS(next, os.DirFS(filepath.Join(dir, old))); err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(next, name)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	if err := writeInPlace(filepath.Join(next, name), f); err != nil {
		return err
	}
	if err := linkOver(filepath.Base(next), data); err != nil {
		return err
	}
	if to, err := os.Readlink(path); err != nil || to != "..data/"+name {
		if err := linkOver("..data/"+name, path); err != nil {
			return err
		}
	}
	if old == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(dir, old))
}

// linkOver makes path a symbolic link, whatever it was.
func linkOver(to, path string) error {
	temporary := path + ".new"
	if err := os.Symlink(to, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// deleteAndMake is what some deployment tools do.
func deleteAndMake(path string, f file) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	time.Sleep(10 * time.Millisecond) // it is the pause that is tested
	return writeInPlace(path, f)
}

// disk is what was written so far.
type disk struct {
	files map[string]file
}

// write brings the disk to what is wanted, in a way, and returns when the last write was over. What a config names is
// written before it.
func (d *disk) write(t testing.TB, w way, wanted map[string]file) (last time.Time) {
	t.Helper()
	order := slices.SortedFunc(maps.Keys(wanted), func(a, b string) int {
		isConfig := func(path string) int { return strings.Count(path, ".cfg.lua") }
		return cmp.Or(isConfig(a)-isConfig(b), strings.Compare(a, b))
	})
	for _, path := range order {
		if d.files[path] == wanted[path] {
			continue
		}
		if err := w.write(path, wanted[path]); err != nil {
			t.Fatalf("%s, %s: %v", path, w.name, err)
		}
		last = time.Now()
	}
	for path := range d.files {
		if _, stays := wanted[path]; !stays {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			last = time.Now()
		}
	}
	d.files = maps.Clone(wanted)
	return last
}

// scriptFile is an auth script that holds its own plan; see testscript.
func scriptFile(protocol string, accounts map[string]string) file {
	return planFile(map[string]any{"protocol": protocol, "accounts": accounts})
}

func TestWays_eachAfterEach(t *testing.T) {
	for _, first := range ways {
		for _, second := range ways {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			for n, w := range []way{first, second, first} {
				want := file{strings.Repeat(fmt.Sprint(n), 1000*(3-n)), []fs.FileMode{0o600, 0o755, 0o644}[n]}
				if err := w.write(path, want); err != nil {
					t.Fatalf("%s, then %s: %v", first.name, second.name, err)
				}
				got, err := os.ReadFile(path)
				info, statErr := os.Stat(path)
				if err != nil || statErr != nil || string(got) != want.content || info.Mode() != want.mode {
					t.Errorf("%s, then %s: %v, %v, %v", first.name, second.name, err, statErr, info)
				}
			}
		}
	}
}
