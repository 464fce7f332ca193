package program

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of CPU times in /proc, 10 ms on every Linux.
const clockTick = 10 * time.Millisecond

// CPU returns the user and system time that the process has used so far. It needs /proc.
func (p *Process) CPU() (time.Duration, error) {
	path := fmt.Sprintf("/proc/%d/stat", p.Pid())
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	// The second field is the name in parentheses and may contain spaces; utime and stime are the
	// 14th and 15th.
	fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return 0, fmt.Errorf("%s has only %d fields", path, len(fields))
	}
	var ticks int64
	for _, field := range []string{fields[utime], fields[stime]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// RSS returns the resident set size of the process, in bytes. It needs /proc.
func (p *Process) RSS() (int64, error) {
	path := fmt.Sprintf("/proc/%d/statm", p.Pid())
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(content))
	if len(fields) < 2 {
		return 0, fmt.Errorf("%s has only %d fields", path, len(fields))
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// OpenFiles returns the number of file descriptors of the process, including those of connections.
// It needs /proc.
func (p *Process) OpenFiles() (int, error) {
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid()))
	return len(descriptors), err
}
