package ticket

import (
	"container/list"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"time"
)

// TTL is how long a ticket is good.
const TTL = 10 * time.Second

const (
	prefix      = "ght_"
	secretBytes = 32
	maxTickets  = 1 << 16
)

// ErrFull is returned by [Tickets.Issue] when 65536 tickets are waiting to be redeemed.
var ErrFull = errors.New("too many tickets are waiting to be redeemed")

// A Shared keeps tickets for others than this process, by hashes. What it is told it may have done although it failed.
type Shared interface {
	// Put keeps a ticket of an owner for so long. It must be quick: a login waits for it.
	Put(ticket, owner [32]byte, life time.Duration) error
	// Take reports whether it has the ticket, of that owner, and forgets it.
	Take(ticket, owner [32]byte) (good bool, err error)
}

// Tickets issues tickets and redeems them. Make it with [New]; all methods may be called at once.
type Tickets struct {
	shared Shared // nil for none

	mu     sync.Mutex // guards what follows
	byHash map[hash]*list.Element
	order  list.List // of *entry, the oldest in front; since all live equally long, it expires first
}

type hash [sha256.Size]byte

type entry struct {
	ticket  hash
	owner   hash
	expires time.Time
}

// New returns an empty set of tickets. With a shared that is not nil, whoever has the same one can redeem them too.
func New(shared Shared) *Tickets {
	return &Tickets{shared: shared, byHash: make(map[hash]*list.Element)}
}

// Issue makes a ticket for user at host, both prepared. It blocks as long as Shared.Put does, and fails with [ErrFull] only:
// where a ticket cannot be shared, it is one of this process alone.
func (t *Tickets) Issue(user, host string) (string, error) {
	owner := ownerHash(user, host)
	if t.shared != nil {
		ticket := newTicket()
		if t.shared.Put(sha256.Sum256([]byte(ticket)), owner, TTL) == nil {
			return ticket, nil
		}
		// It may have been kept there all the same. Nobody is shown it: a ticket is in one place, so that it is good once.
	}
	ticket := newTicket()
	now := time.Now()
	e := &entry{sha256.Sum256([]byte(ticket)), owner, now.Add(TTL)}

	t.mu.Lock()
	defer t.mu.Unlock()
	for oldest := t.order.Front(); oldest != nil && !now.Before(oldest.Value.(*entry).expires); oldest = t.order.Front() {
		t.remove(oldest)
	}
	if len(t.byHash) >= maxTickets {
		return "", ErrFull
	}
	t.byHash[e.ticket] = t.order.PushBack(e)
	return ticket, nil
}

func newTicket() string {
	var secret [secretBytes]byte
	_, _ = rand.Read(secret[:]) // never fails, since Go 1.24
	return prefix + base64.RawURLEncoding.EncodeToString(secret[:])
}

// Redeem reports whether ticket was issued for user at host, both prepared, less than [TTL] ago, and was never shown
// before: of many who show it at once one gets a yes. A ticket that is shown under another name is used up too, since
// nobody who has it honestly does that. It blocks as long as Shared.Take does, whose errors it returns: then nobody can say.
func (t *Tickets) Redeem(ticket, user, host string) (bool, error) {
	// How long the look-up of a hash takes tells nothing of the tickets there are.
	key := hash(sha256.Sum256([]byte(ticket)))
	owner := ownerHash(user, host)

	good, found := t.redeem(key, owner)
	if found || t.shared == nil {
		return good, nil
	}
	return t.shared.Take(key, owner)
}

// redeem does so with the tickets of this process.
func (t *Tickets) redeem(key, owner hash) (good, found bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	element := t.byHash[key]
	if element == nil {
		return false, false
	}
	e := element.Value.(*entry)
	t.remove(element)
	return subtle.ConstantTimeCompare(e.owner[:], owner[:]) == 1 && time.Now().Before(e.expires), true
}

// remove needs t.mu.
func (t *Tickets) remove(element *list.Element) {
	delete(t.byHash, element.Value.(*entry).ticket)
	t.order.Remove(element)
}

// ownerHash is of the bare JID; no prepared user name holds an @.
func ownerHash(user, host string) hash {
	return sha256.Sum256([]byte(user + "@" + host))
}

// LooksLike reports whether a password has the shape of a ticket. What has it must be judged by [Tickets.Redeem] and by
// nothing else: a script that were shown it could log it, and its no would be no answer.
func LooksLike(password string) bool {
	secret, ok := strings.CutPrefix(password, prefix)
	if !ok || len(secret) != base64.RawURLEncoding.EncodedLen(secretBytes) {
		return false
	}
	for i := range len(secret) {
		switch c := secret[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
