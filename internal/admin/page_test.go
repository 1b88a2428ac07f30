package admin

import (
	"regexp"
	"strings"
	"testing"
)

func TestPage_isSmallAndAlone(t *testing.T) {
	if len(page) > 40<<10 {
		t.Errorf("%d bytes", len(page))
	}
	for _, address := range regexp.MustCompile(`(?i)(?:https?:)?//[\w.-]+\.\w+[^"' ]*`).FindAllString(page, -1) {
		if address != "http://www.w3.org/2000/svg" {
			t.Errorf("the page names %s", address)
		}
	}
	for _, word := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "@import", "localStorage", " style=", " onclick="} {
		if strings.Contains(page, word) {
			t.Errorf("the page uses %s", word)
		}
	}
	for _, element := range []string{"<script", "<style"} {
		if n := strings.Count(page, element); n != 1 {
			t.Errorf("%d elements %s>: the policy holds the hash of one", n, element)
		}
	}
}
