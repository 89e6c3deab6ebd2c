-- The queue's clock: epoch seconds, as text.
return string.format('%.6f', NOW)
