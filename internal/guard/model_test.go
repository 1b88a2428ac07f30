package guard_test

import (
	"testing"

	"gatehouse.im/gatehouse/internal/guard"
	"gatehouse.im/gatehouse/internal/guard/guardtest"
)

func TestMemory_model(t *testing.T) {
	for range 20 {
		guardtest.Play(t, 5000, guard.NewMemory())
	}
}
