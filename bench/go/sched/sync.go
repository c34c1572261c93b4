package main

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

func withGoroutines(n, count int64, each func(n int64)) {
	var all sync.WaitGroup
	for i := int64(0); i < count; i++ {
		all.Add(1)
		go func() {
			each(n / count)
			all.Done()
		}()
	}
	all.Wait()
}

func mutexes(seconds float64, count int64, yields bool) result {
	return grow(seconds, count, func(n int64) {
		var m sync.Mutex
		var shared int64
		withGoroutines(n, count, func(each int64) {
			for i := int64(0); i < each; i++ {
				m.Lock()
				shared++
				if yields {
					runtime.Gosched()
				}
				m.Unlock()
			}
		})
		if shared != n {
			panic("mutex: wrong count")
		}
	})
}

var sink int64

func rwMutexes(seconds float64) result {
	return grow(seconds, 160, func(n int64) {
		var m sync.RWMutex
		var shared int64
		withGoroutines(n, 16, func(each int64) {
			var seen int64
			for i := int64(0); i < each; i++ {
				if i%10 == 0 {
					m.Lock()
					shared++
					m.Unlock()
				} else {
					m.RLock()
					seen += shared
					m.RUnlock()
				}
			}
			atomic.AddInt64(&sink, seen)
		})
		if shared != n/10 {
			panic("rw_mutex: wrong count")
		}
	})
}

func broadcasts(seconds float64) result {
	const waiters = 64
	return grow(seconds, waiters, func(n int64) {
		var m sync.Mutex
		turn, complete := sync.NewCond(&m), sync.NewCond(&m)
		var generation, waiting int64
		var all sync.WaitGroup
		for w := 0; w < waiters; w++ {
			all.Add(1)
			go func(rounds int64) {
				m.Lock()
				for seen := int64(0); seen < rounds; seen = generation {
					if waiting++; waiting == waiters {
						complete.Signal()
					}
					for generation == seen {
						turn.Wait()
					}
				}
				m.Unlock()
				all.Done()
			}(n / waiters)
		}
		for round := int64(0); round < n/waiters; round++ {
			m.Lock()
			for waiting < waiters {
				complete.Wait()
			}
			waiting = 0
			generation++
			turn.Broadcast()
			m.Unlock()
		}
		all.Wait()
	})
}

func addSync() {
	for _, count := range []int64{1, 2, 16, 256} {
		count := count
		add(fmt.Sprintf("mutex/%d", count), func(seconds float64) result { return mutexes(seconds, count, false) })
	}
	add("mutex_yield/16", func(seconds float64) result { return mutexes(seconds, 16, true) })
	add("rw_mutex/16", rwMutexes)
	add("cond_broadcast/64", broadcasts)
}
