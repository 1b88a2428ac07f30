package state

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Config says which Redis it is. Printing or logging one shows nothing of it.
type Config struct {
	// Addresses are host:port or the path of a unix socket: of the Redis, of its Sentinels, or of some nodes of a Cluster.
	Addresses []string
	Master    string // the name that the Sentinels know it by; without it they are no Sentinels
	Cluster   bool
	DB        int

	Username, Password                 string
	SentinelUsername, SentinelPassword string
	// TLS is nil for a connection without it. An empty ServerName stands for the host of each address.
	TLS *tls.Config

	// Prefix begins all keys. It has no braces.
	Prefix string
	// Durable says that a restart of this Redis forgets nothing of what it has acknowledged.
	Durable bool

	// Logger is told when the Redis goes away and comes back.
	Logger *slog.Logger
	// Observe is told of every question of a login: "token", "ticket", "redeem" or "guard". It may be nil.
	Observe func(operation string, took time.Duration, err error)
}

// Format writes "[redacted]", whatever the verb.
func (Config) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[redacted]")) }

// LogValue returns "[redacted]".
func (Config) LogValue() slog.Value { return slog.StringValue("[redacted]") }

const (
	// timeout is for a question with its answer, waiting for a connection included.
	timeout = time.Second
	// ticketTimeout is shorter: a login by a password waits for it, and need not (see [Store.Put]).
	ticketTimeout = 250 * time.Millisecond
	// connections to a Redis, at most. One serves some thousand logins a second.
	connections = 16
	// idle of them are kept for the next question; a storm, or an outage, needs more for a while.
	idle = 4
)

func newClient(c Config) redis.UniversalClient {
	logging.Disable() // it would write to standard error, past our log; errors come back to us
	return redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs:            c.Addresses,
		MasterName:       c.Master,
		IsClusterMode:    c.Cluster,
		DB:               c.DB,
		Username:         c.Username,
		Password:         c.Password,
		SentinelUsername: c.SentinelUsername,
		SentinelPassword: c.SentinelPassword,
		TLSConfig:        c.TLS,
		Dialer:           dial(c.TLS),

		// A deadline of ours is for all of it: no tries of the library's own go beyond.
		ContextTimeoutEnabled: true,
		DialTimeout:           timeout,
		ReadTimeout:           timeout,
		WriteTimeout:          timeout,
		PoolTimeout:           timeout,
		MaxRetries:            -1,
		DialerRetries:         1,
		FailingTimeoutSeconds: 1,

		PoolSize:         connections,
		MaxIdleConns:     idle,
		PipelinePoolSize: -1,
		ReadBufferSize:   4 << 10,
		WriteBufferSize:  4 << 10,

		// Plain RESP2 and nothing beside our commands, as the oldest servers and the strictest ACLs have it.
		Protocol:                 2,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}
