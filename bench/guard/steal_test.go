package guard

import (
	"testing"
	"time"
)

func TestStolen(t *testing.T) {
	const stat = "cpu  900 0 900 0 0 0 0 900 0 0\ncpu0 1 2 3 4 5 6 7 80 9 10\ncpu1 1 2 3 4 5 6 7 300 9 10\ncpu10 1 2 3 4 5 6 7 7000 9 10\nintr 5 0 0 0 0 0 0 0 0 0\n"
	for _, tc := range []struct {
		cpus []int
		want time.Duration
	}{{[]int{0}, 800 * time.Millisecond}, {[]int{0, 1}, 3800 * time.Millisecond}, {[]int{10}, 70 * time.Second}, {[]int{2}, 0}, {nil, 9 * time.Second}} {
		if got := stolen(stat, tc.cpus); got != tc.want {
			t.Errorf("CPUs %v: %v, want %v", tc.cpus, got, tc.want)
		}
	}
}
