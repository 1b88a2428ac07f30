package logging

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"
)

// A line of a login, written to /dev/null, in each form; beside it the handlers of log/slog.
func BenchmarkLogin(b *testing.B) {
	null, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	bench := func(name string, logger *slog.Logger) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				logger.LogAttrs(context.Background(), slog.LevelInfo, "login",
					slog.String("host", "example.org"), slog.String("user", "alice"),
					slog.String("mechanism", "PLAIN"), slog.String("remote", "192.0.2.1:50000"),
					slog.String("tls", "TLS 1.3"), slog.String("verdict", "accepted"),
					slog.Duration("duration", 1230*time.Microsecond), slog.Int("worker", 1))
			}
		})
	}
	toNull := []Sink{{To: File, File: "/dev/null", Levels: Info}}
	for name, cfg := range map[string]Config{
		"text": {Format: Text, Sinks: toNull},
		"json": {Format: JSON, Sinks: toNull},
		"off":  {Sinks: []Sink{{To: Console, Levels: Error}}},
	} {
		l := New(null)
		if warnings := l.Set(cfg); len(warnings) > 0 {
			b.Fatal(warnings)
		}
		bench(name, l.Logger())
	}
	bench("slog.TextHandler", slog.New(slog.NewTextHandler(null, nil)))
	bench("slog.JSONHandler", slog.New(slog.NewJSONHandler(null, nil)))
}
