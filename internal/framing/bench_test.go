package framing

import (
	"io"
	"runtime"
	"strings"
	"testing"
)

// stanza is a message of about n bytes.
func stanza(n int) string {
	const s = "<message xmlns='jabber:client' to='juliet@example.com/balcony' from='romeo@example.net/orchard' type='chat' id='ju2ba41c'>" +
		"<body></body><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
	text := strings.Repeat("Wherefore art thou, Romeo? ", n/27+1)[:n-len(s)]
	return strings.Replace(s, "</body>", text+"</body>", 1)
}

// discard takes messages.
type discard struct{}

func (discard) next() (io.WriteCloser, error)     { return discard{}, nil }
func (discard) Write(p []byte) (n int, err error) { return len(p), nil }
func (discard) Close() error                      { return nil }

var sizes = []struct {
	name  string
	bytes int
}{{"200B", 220}, {"16KB", 16000}, {"1MB", 1 << 20}}

func BenchmarkEncoder(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			e := NewEncoder(discard{}.next)
			if _, err := e.Write([]byte(header)); err != nil {
				b.Fatal(err)
			}
			in := []byte(strings.Replace(stanza(size.bytes), " xmlns='jabber:client'", "", 1))
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Write(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// repeated is a message without end to an allocation.
type repeated struct {
	strings.Reader
	message string
}

func (r *repeated) next() (io.Reader, error) {
	r.Reset(r.message)
	return r, nil
}

func BenchmarkDecoder(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			r := &repeated{message: clientOpen}
			d := NewDecoder(r.next)
			p := make([]byte, maxHeld)
			if _, err := d.Read(p); err != nil {
				b.Fatal(err)
			}
			r.message = stanza(size.bytes)
			b.SetBytes(int64(len(r.message)))
			b.ReportAllocs()
			for b.Loop() {
				for left := len(r.message); left > 0; {
					n, err := d.Read(p)
					if err != nil {
						b.Fatal(err)
					}
					left -= n
				}
			}
		})
	}
}

// endless is 64 MB of an element: text, tags and long attribute values.
type endless struct{ head, body, tail string }

func (m *endless) reader() io.Reader {
	readers := []io.Reader{strings.NewReader(m.head)}
	for range 64 << 20 / len(m.body) {
		readers = append(readers, strings.NewReader(m.body))
	}
	return io.MultiReader(append(readers, strings.NewReader(m.tail))...)
}

// counter is a message's receiver.
type counter struct{ bytes, most int }

func (c *counter) next() (io.WriteCloser, error) { return c, nil }
func (c *counter) Close() error                  { return nil }
func (c *counter) Write(p []byte) (int, error) {
	c.bytes, c.most = c.bytes+len(p), max(c.most, len(p))
	return len(p), nil
}

// An element of 64 MB goes through both in no more memory than a small one.
func TestFraming_bigElementInLittleMemory(t *testing.T) {
	big := &endless{"<message><body>", strings.Repeat("text &amp; ", 100<<10) + "<a b='" + strings.Repeat("c", 1<<20) + "'/>", "</body></message>"}
	d := NewDecoder(func() func() (io.Reader, error) {
		first := true
		return func() (io.Reader, error) {
			if first {
				first = false
				return strings.NewReader(clientOpen), nil
			}
			return big.reader(), nil
		}
	}())
	var c counter
	e := NewEncoder(c.next)
	p := make([]byte, maxHeld)
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	got := 0
	for got < 64<<20 {
		n, err := d.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write(p[:n]); err != nil {
			t.Fatal(err)
		}
		got += n
	}
	runtime.ReadMemStats(&now)
	if grown := now.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("%d bytes allocated", grown)
	}
	if c.bytes < 63<<20 || c.most > maxHeld+maxScope {
		t.Errorf("%d bytes out, %d at once", c.bytes, c.most)
	}
}

// A stanza costs no allocation either way.
func TestFraming_noAllocations(t *testing.T) {
	e := NewEncoder(discard{}.next)
	r := &repeated{message: clientOpen}
	d := NewDecoder(r.next)
	p := make([]byte, maxHeld)
	n, err := d.Read(p)
	if err == nil {
		_, err = e.Write(p[:n])
	}
	if err != nil {
		t.Fatal(err)
	}
	r.message = stanza(400)
	// The least of many: the race detector makes pools forget at random.
	least := 1e9
	for range 100 {
		least = min(least, testing.AllocsPerRun(1, func() {
			n, err := d.Read(p)
			if err == nil {
				_, err = e.Write(p[:n])
			}
			if err != nil {
				t.Error(err)
			}
		}))
	}
	if least > 0 {
		t.Errorf("%v allocations", least)
	}
}
