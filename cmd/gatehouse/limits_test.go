package main

import (
	"testing"

	"gatehouse.im/gatehouse/config"
)

// However few files there are: those who look, and the servers behind, take none from the clients.
func TestAffordable(t *testing.T) {
	for _, tt := range []struct {
		files    uint64
		consoles int
		want     int
	}{
		{65536, 0, 65280}, {65536, 1, 64256}, {65536, 2, 63232}, {1024, 0, 768}, {1024, 1, 704}, {1024, 2, 640}, {300, 1, 150}, {0, 1, 0},
	} {
		cfg := &config.Config{}
		for range tt.consoles {
			cfg.Admin = append(cfg.Admin, config.AdminAddr{})
		}
		n := affordable(cfg, tt.files)
		if n != tt.want {
			t.Errorf("%d files, %d admin listeners: %d clients, want %d", tt.files, tt.consoles, n, tt.want)
		}
		if tt.files > 0 && uint64(n+tt.consoles*consoleConns(tt.files)) > tt.files {
			t.Errorf("%d files are not enough for %d clients and %d times %d who look", tt.files, n, tt.consoles, consoleConns(tt.files))
		}
	}
}
