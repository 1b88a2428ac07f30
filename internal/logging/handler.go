package logging

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// handler is what the logger has. Loggers made by With share the Log, so an exchange reaches them all.
type handler struct {
	log    *Log
	prefix string  // the open groups, joined by dots
	fields []field // of With
}

// Enabled implements slog.Handler. It costs one atomic read.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return Levels(h.log.enabled.Load()).Has(level) // #nosec G115 -- stored as Levels
}

// Handle implements slog.Handler. It never fails: who logs has nothing better to do about it than we have.
func (h *handler) Handle(_ context.Context, sr slog.Record) error {
	r := records.Get().(*record)
	r.time, r.level, r.msg = sr.Time.Round(0), sr.Level, bounded(sr.Message)
	r.fields = append(r.fields[:0], h.fields...)
	sr.Attrs(func(a slog.Attr) bool {
		r.fields = flatten(r.fields, h.prefix, a)
		return true
	})
	h.log.write(r)
	clear(r.fields) // a pool is to keep nobody's names
	records.Put(r)
	return nil
}

var records = sync.Pool{New: func() any { return &record{time: time.Time{}, fields: make([]field, 0, 16)} }}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := &handler{log: h.log, prefix: h.prefix, fields: h.fields[:len(h.fields):len(h.fields)]}
	for _, a := range attrs {
		with.fields = flatten(with.fields, h.prefix, a)
	}
	return with
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{log: h.log, prefix: join(h.prefix, name), fields: h.fields}
}
