// Package oracle drives gobreaker's breaker by lines of standard input, as the oracle beside it does.
//
//	new FAILURES WAIT_MS    makes another breaker
//	admit MS CALL           asks at a time
//	settle MS CALL OUTCOME  tells it a result
//
// Each of the last two is answered by "> ADMITTED STATE". It is a test because gobreaker has no clock
// of its own: within a synctest bubble the time is what the lines say.
package oracle

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
)

func TestOracle(t *testing.T) {
	var histories [][]string
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if strings.HasPrefix(in.Text(), "new ") {
			histories = append(histories, nil)
		}
		last := len(histories) - 1
		histories[last] = append(histories[last], in.Text())
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for _, history := range histories {
		synctest.Test(t, func(t *testing.T) { replay(t, out, history) })
	}
}

func replay(t *testing.T, out *bufio.Writer, history []string) {
	var failures uint32
	var wait int64
	if _, err := fmt.Sscanf(history[0], "new %d %d", &failures, &wait); err != nil {
		t.Fatal(history[0], err)
	}
	breaker := gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Timeout:     time.Duration(wait) * time.Millisecond,
		ReadyToTrip: func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= failures },
	})
	begin := time.Now()
	open := map[string]func(bool){}
	for _, line := range history[1:] {
		words := strings.Fields(line)
		var at int64
		fmt.Sscan(words[1], &at)
		time.Sleep(time.Until(begin.Add(time.Duration(at) * time.Millisecond)))
		admitted := 1
		if words[0] == "admit" {
			done, err := breaker.Allow()
			if err != nil {
				admitted = 0
			}
			open[words[2]] = done
		} else {
			open[words[2]](words[3] == "success")
		}
		state := strings.ReplaceAll(breaker.State().String(), "-", "_")
		fmt.Fprintf(out, "> %d %s\n", admitted, state)
	}
}
