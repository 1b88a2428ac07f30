package saslmech

import "testing"

func BenchmarkDecode(b *testing.B) {
	text := []byte("AGFsaWNlAHNlY3JldA==")
	b.ReportAllocs()
	for b.Loop() {
		if _, fail := Decode("PLAIN", text); fail != nil {
			b.Fatal(fail)
		}
	}
}

func BenchmarkNodeprep(b *testing.B) {
	for name, s := range map[string]string{"ascii": "alice", "upper": "Alice", "unicode": "andré"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Nodeprep(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSASLprep(b *testing.B) {
	for name, s := range map[string]string{"ascii": "correct horse battery", "unicode": "schlüssel"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := SASLprep(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
