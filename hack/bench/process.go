package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of times in /proc: USER_HZ is 100 on every machine
// that Go runs on.
const ticksPerSecond = 100

// cpu is the time that a process has spent on processors.
func cpu(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return cpuIn(string(stat))
}

// cpuIn reads utime and stime out of /proc/PID/stat, see proc_pid_stat(5). The
// name of the program, in brackets, may hold spaces.
func cpuIn(stat string) (time.Duration, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/PID/stat reads %q", stat)
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// memory is what a process holds, in MB of 1,000,000 bytes.
func memory(pid int) (resident, peak float64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	return statusKB(string(status), "VmRSS") * 1024 / 1e6, statusKB(string(status), "VmHWM") * 1024 / 1e6, nil
}

// statusKB reads a line like "VmRSS:   1234 kB" of /proc/PID/status.
func statusKB(status, name string) float64 {
	for line := range strings.Lines(status) {
		if key, value, ok := strings.Cut(line, ":"); ok && key == name {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			if err == nil {
				return kb
			}
		}
	}
	return 0
}

// forgetPeak lets VmHWM begin anew, see proc_pid_clear_refs(5). Where it may not
// be, the peak is that since the start of the process.
func forgetPeak(pid int) {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}
