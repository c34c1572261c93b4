package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// statusBytes is a field of /proc/self/status, in bytes.
func statusBytes(field string) float64 {
	text, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, field) {
			kb, _ := strconv.ParseFloat(strings.Fields(line)[1], 64)
			return 1024 * kb
		}
	}
	return 0
}

func mapsLines() float64 {
	text, _ := os.ReadFile("/proc/self/maps")
	return float64(strings.Count(string(text), "\n"))
}

func parked(count int64) result {
	c := make(chan int64)
	var started, finished sync.WaitGroup
	rss, pte := statusBytes("RssAnon:"), statusBytes("VmPTE:")
	cpu, begin := cpuNow(), now()
	started.Add(int(count))
	for i := int64(0); i < count; i++ {
		finished.Add(1)
		go func() {
			started.Done()
			<-c
			finished.Done()
		}()
	}
	started.Wait()
	created, createCPU := now(), cpuNow()-cpu
	time.Sleep(100 * time.Millisecond)
	n := float64(count)
	more := []figure{{"rss_bytes", (statusBytes("RssAnon:") - rss) / n}, {"pte_bytes", (statusBytes("VmPTE:") - pte) / n},
		{"vmas", mapsLines()}}
	cpu, closed := cpuNow(), now()
	close(c)
	finished.Wait()
	create, wake := float64(created-begin)/n, float64(now()-closed)/n
	used := float64(createCPU+cpuNow()-cpu) / n
	return result{create + wake, n, append(more, figure{"create_ns", create}, figure{"wake_ns", wake}, figure{"cpu_ns", used})}
}

func switches() int64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage.Nvcsw
}

func idle(seconds float64) result {
	c := make(chan int64)
	var all sync.WaitGroup
	for i := 0; i < 1000; i++ {
		all.Add(1)
		go func() {
			<-c
			all.Done()
		}()
	}
	time.Sleep(100 * time.Millisecond)
	begin, cpu, nvcsw := now(), cpuNow(), switches()
	time.Sleep(time.Duration(10 * seconds * 1e9))
	wall, used := float64(now()-begin)/1e9, float64(cpuNow()-cpu)
	r := result{used / wall, wall, []figure{{"cpu_ms", used / 1e6}, {"switches_per_s", float64(switches()-nvcsw) / wall}}}
	close(c)
	all.Wait()
	return r
}

func addParked() {
	for _, count := range []int64{10_000, 100_000, 1_000_000} {
		count := count
		add(fmt.Sprintf("parked/%d", count), func(float64) result { return parked(count) })
	}
	add("idle/1000", idle)
}
