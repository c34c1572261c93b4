package main

import (
	"fmt"
	"sync"
	"time"
)

func timers(count int64) result {
	r := random(1)
	deadline := func() time.Duration { return time.Duration(r.below(10_000_000_000)) }
	all := make([]*time.Timer, 0, count)
	cpu, begin := cpuNow(), now()
	for i := int64(0); i < count; i++ {
		all = append(all, time.AfterFunc(deadline(), func() {}))
	}
	added := now()
	for _, t := range all {
		t.Reset(deadline())
	}
	reset := now()
	for _, t := range all {
		t.Stop()
	}
	stopped := now()
	used := float64(cpuNow()-cpu) / float64(count)
	each := func(from, to int64) float64 { return float64(to-from) / float64(count) }
	return result{each(begin, stopped), float64(count), []figure{
		{"add_ns", each(begin, added)}, {"reset_ns", each(added, reset)}, {"stop_ns", each(reset, stopped)}, {"cpu_ns", used}}}
}

func sleepers(seconds float64) result {
	const count = 1000
	late := make([][]float64, count)
	end := now() + int64(4*seconds*1e9)
	var all sync.WaitGroup
	for i := range late {
		all.Add(1)
		go func(mine *[]float64, seed int) {
			r := random(seed)
			for begin := now(); begin < end; begin = now() {
				ns := 1_000_000 + r.below(199_000_000)
				time.Sleep(time.Duration(ns))
				*mine = append(*mine, float64(now()-begin-ns))
			}
			all.Done()
		}(&late[i], i)
	}
	all.Wait()
	var samples []float64
	for _, mine := range late {
		samples = append(samples, mine...)
	}
	return latency(samples)
}

func addTimers() {
	for _, count := range []int64{100_000, 1_000_000} {
		count := count
		add(fmt.Sprintf("timers/%d", count), func(float64) result { return timers(count) })
	}
	add("sleep_late/1000", sleepers)
}
