package state

import (
	"fmt"
	"time"
)

// answer is what use.lua returns.
type answer struct {
	word  string
	since time.Time // when the Redis last forgot something; its clock if word is "clocks"
	why   string
}

// maxWhy bounds what a Redis says into our log.
const maxWhy = 100

// readAnswer reads an answer. Whoever sends something else is no Redis, or not ours.
func readAnswer(reply any) (answer, error) {
	parts, ok := reply.([]any)
	if !ok || len(parts) != 3 {
		return answer{}, ErrAnswer
	}
	word, okWord := parts[0].(string)
	at, okAt := parts[1].(int64)
	why, okWhy := parts[2].(string)
	if !okWord || !okAt || !okWhy || at < 0 || len(why) > maxWhy {
		return answer{}, ErrAnswer
	}
	a := answer{word: word, since: time.UnixMilli(at), why: why}
	switch word {
	case "well", "fresh", "used", "held", "clocks":
		return a, nil
	case "mute":
		return answer{}, fmt.Errorf("%w: INFO has no run_id or no evicted_keys", ErrAnswer)
	}
	return answer{}, ErrAnswer
}

// verdict is an answer about a token; now is the front's clock.
func (a answer) verdict(now time.Time) (fresh bool, err error) {
	switch a.word {
	case "fresh":
		return true, nil
	case "used":
		return false, nil
	}
	return false, a.fault(now)
}

// fault is what keeps tokens from being used.
func (a answer) fault(now time.Time) error {
	switch a.word {
	case "clocks":
		return fmt.Errorf("%w: that of Redis is %s away", ErrClocks, a.since.Sub(now).Round(time.Second))
	case "held":
		return a.held()
	case "well":
		if now.Before(a.since.Add(Hold)) {
			return a.held()
		}
		return nil
	}
	return ErrAnswer
}

func (a answer) held() error {
	return fmt.Errorf("%w: it %q; tokens of before %s are refused", ErrHeld, a.why, a.since.UTC().Format("15:04:05Z"))
}
