package admission_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"gatehouse.im/gatehouse/internal/admission"
)

// sentConn is a connection on which all of it has come.
type sentConn struct {
	net.Conn
	*bytes.Reader
}

func (c sentConn) Read(p []byte) (int, error)  { return c.Reader.Read(p) }
func (c sentConn) Write(p []byte) (int, error) { return len(p), nil }

// record is one with so many bytes behind its header.
func record(size int) []byte {
	b := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(size))
	return append(b, make([]byte, size)...)
}

// readRecord reads one as crypto/tls does: into a buffer that has room for what the header says and 512 bytes, and is grown
// to twice its size if it has not.
func readRecord(r *admission.Records, buf *[]byte) error {
	grow := func(n int) {
		if n += 512; n > len(*buf) {
			*buf = append(*buf, make([]byte, max(n, 2*len(*buf))-len(*buf))...)
		}
	}
	grow(5)
	have, want := 0, 5
	for have < want {
		n, err := r.Read((*buf)[have:])
		if have += n; have > want {
			return errors.New("more than a record at a time")
		}
		if have == 5 && want == 5 {
			want += int(binary.BigEndian.Uint16((*buf)[3:]))
			if err == nil {
				grow(want)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func TestRecords(t *testing.T) {
	type step struct {
		size int
		idle bool // nothing comes of it
	}
	tests := []struct {
		name      string
		handshake []int
		then      []step
		want      error
	}{
		{"an ordinary login", []int{1800, 1, 53}, []step{{200, false}, {300, false}, {200, false}}, io.EOF},
		{"a handshake too long", []int{4000, 4000, 400}, nil, admission.ErrHandshake},
		{"a handshake that claims to be too long", []int{16000}, nil, admission.ErrHandshake},
		{"8 KiB at once", []int{2000, 1, 74}, []step{{8<<10 + 17, false}}, io.EOF},
		{"10000 bytes at once", []int{1500, 1, 53}, []step{{10017, false}}, io.EOF},
		{"a record of full size", []int{400, 1, 53}, []step{{16<<10 + 17, false}}, admission.ErrRecord},
		{"a buffer that is made larger", []int{400}, []step{{7000, false}, {9000, false}}, admission.ErrRecord},
		{"a long handshake, and long records", []int{7000}, []step{{1000, false}}, admission.ErrRecord},
		{"key updates", []int{400}, []step{{22, true}, {200, false}, {22, true}, {22, true}, {200, false}}, io.EOF},
		{"a message of the handshake, after it", []int{400}, []step{{200, false}, {1200, true}}, admission.ErrRecord},
		{"the same in small pieces", []int{400}, []step{{400, true}, {400, true}, {400, true}}, admission.ErrRecord},
		{"the same between others", []int{400}, []step{{600, true}, {200, false}, {600, true}}, admission.ErrRecord},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var sent []byte
			for _, size := range test.handshake {
				sent = append(sent, record(size)...)
			}
			for _, s := range test.then {
				sent = append(sent, record(s.size)...)
			}
			r := admission.NewRecords(sentConn{Reader: bytes.NewReader(sent)}, 10000)
			var buf []byte
			var err error
			for range test.handshake {
				if err = readRecord(r, &buf); err != nil {
					break
				}
			}
			r.Shaken()
			for n := 0; err == nil && n < len(test.then); n++ {
				if err = readRecord(r, &buf); err == nil && !test.then[n].idle {
					r.Took()
				}
			}
			if err == nil {
				_, err = r.Read(make([]byte, 512)) // which may not wait for more
			}
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// However the bytes come, and whatever they are, no more than a record is handed out at a time, and nothing is lost.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{1, 7, 200}, append(record(100), record(2000)...))
	f.Add([]byte{5}, record(0))
	f.Add([]byte{255, 1}, []byte("<stream:stream>"))
	f.Fuzz(func(t *testing.T, sizes, sent []byte) {
		if len(sizes) == 0 {
			return
		}
		r := admission.NewRecords(sentConn{Reader: bytes.NewReader(sent)}, 10000)
		ends := map[int]bool{} // where records do
		for at := 0; at+5 <= len(sent); {
			at += 5 + int(binary.BigEndian.Uint16(sent[at+3:]))
			ends[at] = true
		}
		var got []byte
		for n := 0; ; n++ {
			room := make([]byte, max(1, int(sizes[n%len(sizes)])))
			n, err := r.Read(room)
			for at := len(got) + 1; at < len(got)+n; at++ {
				if ends[at] {
					t.Fatal("more than a record at a time")
				}
			}
			got = append(got, room[:n]...)
			if !bytes.HasPrefix(sent, got) {
				t.Fatal("other bytes than were sent")
			}
			if err == io.EOF && len(got) != len(sent) {
				t.Fatalf("%d of %d bytes", len(got), len(sent))
			}
			if err != nil {
				return
			}
		}
	})
}

// Where larger elements are allowed, they may come in the largest record that there is (RFC 8446, section 5.1), behind
// smaller ones.
func TestRecords_largeElements(t *testing.T) {
	sizes := []int{517, 80, 300, 5000, 16640, 16640}
	var sent []byte
	for _, size := range sizes {
		sent = append(sent, record(size)...)
	}
	r := admission.NewRecords(sentConn{Reader: bytes.NewReader(sent)}, 65536)
	var buf []byte
	for i, size := range sizes {
		buf = buf[:0:cap(buf)]
		if err := readRecord(r, &buf); err != nil {
			t.Fatalf("record %d, of %d bytes: %v", i, size, err)
		}
		if i == 1 {
			r.Shaken()
		}
		r.Took()
	}
}
