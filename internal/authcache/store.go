package authcache

import (
	"container/list"
	"slices"
	"strings"
	"time"
)

// perUser is how many entries of one user a store has at most: people have one password, or one a device.
const perUser = 10

// store remembers which questions got one verdict. The oldest give way to new ones.
type store struct {
	max     int
	entries map[sum]*list.Element
	users   map[string][]*list.Element // the oldest first
	order   *list.List                 // of *entry, the oldest in front
}

type entry struct {
	sum   sum
	user  string
	asked time.Time // when the question was put
}

func newStore() store {
	return store{entries: make(map[sum]*list.Element), users: make(map[string][]*list.Element), order: list.New()}
}

// age returns how old the verdict is.
func (s *store) age(k sum, now time.Time) (age time.Duration, ok bool) {
	at := s.entries[k]
	if at == nil {
		return 0, false
	}
	return now.Sub(at.Value.(*entry).asked), true
}

func (s *store) put(k sum, user string, asked time.Time) {
	s.remove(k)
	if s.max == 0 {
		return
	}
	if of := s.users[user]; len(of) >= perUser {
		s.drop(of[0])
	}
	s.resize(s.max - 1)
	// The name may be a part of a message that holds the password as well.
	user = strings.Clone(user)
	at := s.order.PushBack(&entry{k, user, asked})
	s.entries[k] = at
	s.users[user] = append(s.users[user], at)
}

// resize lets the oldest go until no more than n are left.
func (s *store) resize(n int) {
	for s.order.Len() > n {
		s.drop(s.order.Front())
	}
}

func (s *store) remove(k sum) {
	if at := s.entries[k]; at != nil {
		s.drop(at)
	}
}

// forget removes a user's entries and says how many they were.
func (s *store) forget(user string) int {
	of := slices.Clone(s.users[user])
	for _, at := range of {
		s.drop(at)
	}
	return len(of)
}

// expire lets entries go that are older than life.
func (s *store) expire(now time.Time, life time.Duration) {
	for at := s.order.Front(); at != nil && now.Sub(at.Value.(*entry).asked) >= life; at = s.order.Front() {
		s.drop(at)
	}
}

func (s *store) drop(at *list.Element) {
	e := s.order.Remove(at).(*entry)
	delete(s.entries, e.sum)
	of := s.users[e.user]
	if of = slices.DeleteFunc(of, func(other *list.Element) bool { return other == at }); len(of) > 0 {
		s.users[e.user] = of
	} else {
		delete(s.users, e.user)
	}
}
