package extauth_test

import (
	"context"
	"fmt"
	"time"

	"gatehouse.im/gatehouse/extauth"
)

// A script in one line, asked three times.
func ExamplePool() {
	pool, err := extauth.NewPool(extauth.Config{
		Name: "example.org",
		Command: []string{"/bin/sh", "-c",
			`while IFS= read -r query; do case $query in auth:alice:*:secret) echo 1;; *) echo 0;; esac; done`},
		Timeout:   5 * time.Second,
		Processes: 1,
		Queue:     100,
		PTY:       true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer pool.Close(ctx)

	fmt.Println(pool.Auth(ctx, "alice", "example.org", "secret"))
	fmt.Println(pool.Auth(ctx, "alice", "example.org", "guess"))
	fmt.Println(pool.Auth(ctx, "alice", "example.org", "two\nlines"))
	// Output:
	// true <nil>
	// false <nil>
	// false query refused: password holds a control character
}
